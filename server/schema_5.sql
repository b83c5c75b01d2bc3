-- Which builds are of the trunk: their failures alone count towards broken.

ALTER TABLE build ADD COLUMN trunk INTEGER NOT NULL DEFAULT 1;
UPDATE build SET trunk = 0
  WHERE replace(replace(branch, 'refs/heads/', ''), 'origin/', '') NOT IN ('', 'main', 'master', 'trunk');
