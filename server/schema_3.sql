-- Order, groups and tokens: what a build and a list of tests ask of the scheduler.

ALTER TABLE build ADD COLUMN ord INTEGER NOT NULL DEFAULT 0;       -- Order of shardd.proto
ALTER TABLE build ADD COLUMN by_class INTEGER NOT NULL DEFAULT 0;
ALTER TABLE build ADD COLUMN tokens TEXT NOT NULL DEFAULT '';      -- a line NAME=COUNT for each with several copies

ALTER TABLE list ADD COLUMN marks BLOB NOT NULL DEFAULT x'';       -- groups and tokens of its tests, as server/marks.h has it
