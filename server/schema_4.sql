-- How many workers a build waits for, and how long.

ALTER TABLE build ADD COLUMN min_workers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE build ADD COLUMN min_workers_us INTEGER NOT NULL DEFAULT 0;

-- It ran without the server, and only brought its results: no job that is run again.
ALTER TABLE worker ADD COLUMN brings INTEGER NOT NULL DEFAULT 0;
