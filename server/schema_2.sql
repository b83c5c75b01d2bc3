-- The history: who may teach, what each test's failures say, what is muted, what became slower. Nothing is dropped; what
-- older versions counted is the start of the new memory. Rates and weights are REAL, sums of durations µs.

ALTER TABLE build ADD COLUMN trusted INTEGER NOT NULL DEFAULT 1;  -- 0: it reads estimates and teaches nothing
ALTER TABLE build ADD COLUMN sick INTEGER NOT NULL DEFAULT 0;     -- 1: too much failed at once, no evidence
ALTER TABLE build ADD COLUMN first_n INTEGER NOT NULL DEFAULT 0;  -- first attempts of workers that were not sick …
ALTER TABLE build ADD COLUMN first_failed INTEGER NOT NULL DEFAULT 0;  -- … and those of them that failed
ALTER TABLE build ADD COLUMN predicted_us INTEGER;      -- what the estimates of then promised for its workers
ALTER TABLE build ADD COLUMN setups INTEGER;            -- how often a worker entered a file
ALTER TABLE build ADD COLUMN setup_us INTEGER;          -- what that cost beyond the tests' usual set-ups
ALTER TABLE build ADD COLUMN longest_test INTEGER;      -- test.id
ALTER TABLE build ADD COLUMN last_test INTEGER;         -- test.id: it ended last
ALTER TABLE build ADD COLUMN muted INTEGER NOT NULL DEFAULT 0;  -- failing verdicts that did not count
ALTER TABLE build ADD COLUMN muted_count INTEGER NOT NULL DEFAULT 0;  -- tests that were muted when its list came …
ALTER TABLE build ADD COLUMN muted_tests BLOB;  -- … packed: test.id of each

ALTER TABLE worker ADD COLUMN sick INTEGER NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN speed_ppm INTEGER;        -- observed over expected durations; above a million: slow

ALTER TABLE dur_stat ADD COLUMN builds BLOB;            -- per place of the ring: build.id, little-endian u64
ALTER TABLE dur_stat ADD COLUMN runs7 REAL NOT NULL DEFAULT 0;  -- runs and their µs, decayed over seven days …
ALTER TABLE dur_stat ADD COLUMN cost7 REAL NOT NULL DEFAULT 0;
ALTER TABLE dur_stat ADD COLUMN cost_ms INTEGER NOT NULL DEFAULT 0;  -- … as of then
ALTER TABLE dur_stat ADD COLUMN high_us INTEGER NOT NULL DEFAULT 0;  -- the longest of the ring
ALTER TABLE dur_stat ADD COLUMN base_us INTEGER NOT NULL DEFAULT 0;  -- before it became slower …
ALTER TABLE dur_stat ADD COLUMN step_us INTEGER NOT NULL DEFAULT 0;  -- … and since
ALTER TABLE dur_stat ADD COLUMN step_ms INTEGER NOT NULL DEFAULT 0;  -- when that was noticed; 0: it did not
ALTER TABLE dur_stat ADD COLUMN step_from INTEGER NOT NULL DEFAULT 0;  -- build.id: the last fast one
ALTER TABLE dur_stat ADD COLUMN step_to INTEGER NOT NULL DEFAULT 0;    -- build.id: the first slow one
CREATE INDEX dur_stat_step ON dur_stat (suite) WHERE step_ms > 0;

-- What flaky.h remembers, by the names it has there. Commits and hosts are the numbers that flaky.h makes of them.
ALTER TABLE flake_stat ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN f REAL NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN r REAL NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN at_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN cleared_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN last_event_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN last_fail_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN last_good INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN first_bad INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN bad_commit INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN bad_worker INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN trials INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN clean INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN streak INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN streak_attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN streak_workers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN streak_builds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN flagged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flake_stat ADD COLUMN hits INTEGER NOT NULL DEFAULT 0;     -- builds that failed by its flips
ALTER TABLE flake_stat ADD COLUMN lost_us INTEGER NOT NULL DEFAULT 0;  -- retries, and builds in vain
UPDATE flake_stat SET f = min(flips, builds), r = builds, trials = builds,
  state = iif(flips > 0 AND last_flip_ms > (unixepoch() - 14 * 86400) * 1000, 2, builds >= 20),
  at_ms = max(last_flip_ms, unixepoch() * 1000), last_event_ms = last_flip_ms;
CREATE INDEX flake_stat_state ON flake_stat (suite, state) WHERE state >= 2;

-- A failure of good code.
CREATE TABLE flake_event (
  test INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  build INTEGER NOT NULL,
  commit_key INTEGER NOT NULL,
  host_key INTEGER NOT NULL,
  worker INTEGER NOT NULL,
  flags INTEGER NOT NULL,   -- flaky_flags
  cluster INTEGER NOT NULL,
  weight REAL NOT NULL,
  lost_us INTEGER NOT NULL,
  PRIMARY KEY (test, at_ms, build)
) STRICT, WITHOUT ROWID;

-- Why a test changed its state, or its quarantine.
CREATE TABLE state_log (
  id INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  test INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  old TEXT NOT NULL,
  new TEXT NOT NULL,
  who TEXT NOT NULL,        -- '': the model
  why TEXT NOT NULL
) STRICT;
CREATE INDEX state_log_test ON state_log (test);

-- Muted tests: they run, and their failures do not count.
CREATE TABLE quarantine (
  test INTEGER PRIMARY KEY,
  suite INTEGER NOT NULL,
  origin TEXT NOT NULL,     -- auto, manual or file
  reason TEXT NOT NULL,
  who TEXT NOT NULL,
  ticket TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  extend INTEGER NOT NULL   -- 1: at the end, once more if it is still flaky
) STRICT;
CREATE INDEX quarantine_suite ON quarantine (suite);
