-- What a worker left behind, whether a job that was run again has cleared it, and what such a job opened.

ALTER TABLE worker ADD COLUMN fact INTEGER NOT NULL DEFAULT 0;       -- 1: errors outside of tests, 2: its test process failed
ALTER TABLE worker ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0;    -- the round in which the fact was cleared; 0: it is open
ALTER TABLE worker ADD COLUMN completed INTEGER NOT NULL DEFAULT 0;  -- how often the build was complete when it came
ALTER TABLE worker ADD COLUMN again INTEGER NOT NULL DEFAULT 0;      -- of a job that was run again: why it opened tests
ALTER TABLE worker ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;     -- and how many

-- Until now a later worker of the node cleared an error. It did so rightly if it ran a test.
UPDATE worker SET fact=1 WHERE late IS NOT NULL;
UPDATE worker SET cleared=1 WHERE fact=1 AND node<>'' AND EXISTS
 (SELECT 1 FROM worker l WHERE l.build=worker.build AND l.node=worker.node AND l.idx>worker.idx AND l.tests>0
  AND l.attempt<>worker.attempt);
