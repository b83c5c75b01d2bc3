-- When a build was over before a later round, or results that came later, opened it again. Kept as long as the build.

CREATE TABLE pause (
  build INTEGER NOT NULL,
  from_ms INTEGER NOT NULL,
  to_ms INTEGER NOT NULL,
  PRIMARY KEY (build, from_ms)
) STRICT, WITHOUT ROWID;
