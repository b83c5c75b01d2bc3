-- Which builds are of the trunk: their failures alone count towards broken.

ALTER TABLE build ADD COLUMN trunk INTEGER NOT NULL DEFAULT 1;
UPDATE build SET trunk = 0
  WHERE replace(replace(branch, 'refs/heads/', ''), 'origin/', '') NOT IN ('', 'main', 'master', 'trunk');

-- Who failed and where, while a test does not pass: flaky_worker and flaky_name of each, eight bytes a number. NULL:
-- nobody is known.
ALTER TABLE flake_stat ADD COLUMN bad_ms INTEGER NOT NULL DEFAULT 0;  -- the newest of those failures
ALTER TABLE flake_stat ADD COLUMN bad_workers BLOB;
ALTER TABLE flake_stat ADD COLUMN bad_branches BLOB;

-- The branches on which a test was slow since its step.
ALTER TABLE dur_stat ADD COLUMN step_branches BLOB;
