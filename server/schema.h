// The steps that bring a database to the schema of this program, one per version. Used by store_open alone.
#ifndef SERVER_SCHEMA_H
#define SERVER_SCHEMA_H

enum {
  SCHEMA_APPLICATION_ID = 0x73686472,  // "shdr": PRAGMA application_id of our files
  SCHEMA_VERSION = 10,                 // PRAGMA user_version after the last step
};

// SQL that leads from version - 1 to version, 1 <= version <= SCHEMA_VERSION. Constant text, several statements.
const char *schema_step(int version);

#endif
