-- Of results that were made without the server, by a worker that brings them: which part of the list, and of how many.

ALTER TABLE worker ADD COLUMN part INTEGER NOT NULL DEFAULT 0;   -- from 1; 0: no fixed part
ALTER TABLE worker ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;
