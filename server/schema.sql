-- Version 1. Times ending in _ms are wall clock since the epoch, durations _us. Names that come from outside are stored as
-- they came (TEXT is not checked by SQLite; ids of tests are BLOB). Numbers of states and statuses: proto/shardd.proto.

CREATE TABLE meta (
  key TEXT PRIMARY KEY,       -- epoch: of the last start; open: 1 while a daemon has the file
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('open', 0);

CREATE TABLE project (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE suite (
  id INTEGER PRIMARY KEY,
  project INTEGER NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (project, name)
) STRICT;

-- A file of tests, and what its set-up costs beyond that of its tests.
CREATE TABLE file_stat (
  id INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  path TEXT NOT NULL,
  setup_us INTEGER NOT NULL DEFAULT 0,  -- 0: unknown
  n INTEGER NOT NULL DEFAULT 0,         -- observations
  UNIQUE (suite, path)
) STRICT;

CREATE TABLE test (
  id INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  node BLOB NOT NULL,
  file INTEGER,                  -- file_stat.id
  first_seen_ms INTEGER NOT NULL,
  last_seen_ms INTEGER NOT NULL, -- to the day
  UNIQUE (suite, node)
) STRICT;

-- Collection order. Builds with equal lists share the row. Arrays are packed by store_pack.c.
CREATE TABLE list (
  id INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  digest BLOB NOT NULL,     -- over ids, files and units, in order
  count INTEGER NOT NULL,
  file_count INTEGER NOT NULL,
  tests BLOB NOT NULL,      -- test.id of each position
  units BLOB NOT NULL,      -- unit of each position
  file_of BLOB NOT NULL,    -- index into files + 1 of each position, 0: none
  files BLOB NOT NULL,      -- file_stat.id of each file
  seen_ms INTEGER NOT NULL, -- when its tests were last marked as seen
  UNIQUE (suite, digest)
) STRICT;

CREATE TABLE build (
  id INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  ext TEXT NOT NULL,
  commit_sha TEXT NOT NULL,
  branch TEXT NOT NULL,
  state INTEGER NOT NULL,
  list INTEGER,
  retries INTEGER NOT NULL,
  max_failures INTEGER NOT NULL,
  on_retry INTEGER NOT NULL,
  by_file INTEGER NOT NULL,
  linger_us INTEGER NOT NULL,
  timeout_per_test_us INTEGER NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  text TEXT,                          -- why it ended so
  round INTEGER NOT NULL DEFAULT 1,
  learned_round INTEGER NOT NULL DEFAULT 0,  -- rounds that have taught the history
  learned INTEGER NOT NULL DEFAULT 0,        -- of the next one: the last test that has
  tests INTEGER NOT NULL DEFAULT 0,
  passed INTEGER NOT NULL DEFAULT 0,  -- verdicts by the attempts that settled them
  failed INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  workers INTEGER NOT NULL DEFAULT 0,
  purged INTEGER NOT NULL DEFAULT 0,  -- 1: raw results were dropped
  UNIQUE (suite, ext)
) STRICT;
CREATE INDEX build_suite ON build (suite);
CREATE INDEX build_commit ON build (suite, commit_sha) WHERE commit_sha <> '';
CREATE INDEX build_list ON build (list) WHERE list IS NOT NULL;
CREATE INDEX build_running ON build (id) WHERE state < 3;
CREATE INDEX build_unlearned ON build (id) WHERE round > learned_round + (state < 3);
CREATE INDEX build_kept ON build (ended_ms) WHERE purged = 0 AND state >= 3;

CREATE TABLE worker (
  build INTEGER NOT NULL,
  idx INTEGER NOT NULL,
  node TEXT NOT NULL,
  attempt TEXT NOT NULL,
  host TEXT NOT NULL,
  session BLOB NOT NULL,
  joined_ms INTEGER NOT NULL,
  left_ms INTEGER,
  acked INTEGER NOT NULL DEFAULT 0,  -- highest sequence number on disk
  late TEXT,
  tests INTEGER NOT NULL DEFAULT 0,  -- attempts it ran
  failed INTEGER NOT NULL DEFAULT 0,
  busy_us INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (build, idx)
) STRICT, WITHOUT ROWID;

-- The one big table: clustered, without a second index.
CREATE TABLE result (
  build INTEGER NOT NULL,
  test INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  worker INTEGER NOT NULL,
  status INTEGER NOT NULL,
  flags INTEGER NOT NULL,  -- store_result_flags
  round INTEGER NOT NULL,
  start_ms INTEGER NOT NULL,
  setup_us INTEGER NOT NULL,
  call_us INTEGER NOT NULL,
  teardown_us INTEGER NOT NULL,
  PRIMARY KEY (build, test, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE output (
  build INTEGER NOT NULL,
  test INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  text BLOB NOT NULL,
  PRIMARY KEY (build, test, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE round (
  build INTEGER NOT NULL,
  n INTEGER NOT NULL,      -- from 2
  at_ms INTEGER NOT NULL,
  count INTEGER NOT NULL,
  tests BLOB NOT NULL,     -- packed: the tests that lost their verdict
  PRIMARY KEY (build, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE dur_stat (
  test INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  n INTEGER NOT NULL,
  ring BLOB NOT NULL,       -- ESTIMATE_RING little-endian float32, µs
  setup_us INTEGER NOT NULL,  -- usual, without what a file or a process costs at its start
  last_us INTEGER NOT NULL,
  est_us INTEGER NOT NULL
) STRICT;
CREATE INDEX dur_stat_slow ON dur_stat (suite, est_us);

CREATE TABLE flake_stat (
  test INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  flips INTEGER NOT NULL,   -- builds that saw it both fail and pass, or that contradicted another build of their commit
  runs INTEGER NOT NULL,    -- attempts that passed or failed
  fails INTEGER NOT NULL,
  builds INTEGER NOT NULL,  -- builds in which it passed or failed
  last_flip_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX flake_stat_flips ON flake_stat (suite, flips) WHERE flips > 0;
