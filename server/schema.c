// Carries the SQL of the schema inside the program: schema.sql is step 1; a later version adds schema_N.sql, one block
// below and one row in the table, and never changes a step that was released. Called by store_open.c. Knows nothing of
// SQLite: applying the steps, each atomically, is the caller's work.
#include "server/schema.h"

#include <assert.h>

#include "config/base.h"

// The assembler reads the file from the root of the source tree, where make runs.
__asm__(
    ".pushsection .rodata\n"
    ".hidden schema_sql_1\n"
    ".global schema_sql_1\n"
    "schema_sql_1:\n"
    ".incbin \"server/schema.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_2\n"
    ".global schema_sql_2\n"
    "schema_sql_2:\n"
    ".incbin \"server/schema_2.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_3\n"
    ".global schema_sql_3\n"
    "schema_sql_3:\n"
    ".incbin \"server/schema_3.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_4\n"
    ".global schema_sql_4\n"
    "schema_sql_4:\n"
    ".incbin \"server/schema_4.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_5\n"
    ".global schema_sql_5\n"
    "schema_sql_5:\n"
    ".incbin \"server/schema_5.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_6\n"
    ".global schema_sql_6\n"
    "schema_sql_6:\n"
    ".incbin \"server/schema_6.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_7\n"
    ".global schema_sql_7\n"
    "schema_sql_7:\n"
    ".incbin \"server/schema_7.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_8\n"
    ".global schema_sql_8\n"
    "schema_sql_8:\n"
    ".incbin \"server/schema_8.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_9\n"
    ".global schema_sql_9\n"
    "schema_sql_9:\n"
    ".incbin \"server/schema_9.sql\"\n"
    ".byte 0\n"
    ".hidden schema_sql_10\n"
    ".global schema_sql_10\n"
    "schema_sql_10:\n"
    ".incbin \"server/schema_10.sql\"\n"
    ".byte 0\n"
    ".popsection\n");

extern const char schema_sql_1[], schema_sql_2[], schema_sql_3[], schema_sql_4[], schema_sql_5[], schema_sql_6[],
    schema_sql_7[], schema_sql_8[], schema_sql_9[], schema_sql_10[];

static const char *const steps[] = {schema_sql_1, schema_sql_2, schema_sql_3, schema_sql_4, schema_sql_5,
                                    schema_sql_6, schema_sql_7, schema_sql_8, schema_sql_9, schema_sql_10};
static_assert(COUNT_OF(steps) == SCHEMA_VERSION, "one step per version");

const char *schema_step(int version) {
  assert(version >= 1 && version <= SCHEMA_VERSION);
  return steps[version - 1];
}
