-- What a build is of beside its commit, which its first workers told and later ones are compared with.

ALTER TABLE build ADD COLUMN facts TEXT NOT NULL DEFAULT '';      -- a line NAME=VALUE each, as in server/same.h
ALTER TABLE build ADD COLUMN mixed INTEGER NOT NULL DEFAULT 0;    -- of what a mixture was asked for: MSG_MIXED_*
ALTER TABLE build ADD COLUMN sources BLOB NOT NULL DEFAULT x'';   -- SHA-256 of the files that hold tests
