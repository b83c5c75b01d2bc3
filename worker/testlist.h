// A collected list of tests: ids in collection order with their files and units, and the order by bytes, in which a
// test's place is its number on the wire. Built by runners, read by run.c and the reports.
#ifndef WORKER_TESTLIST_H
#define WORKER_TESTLIST_H

#include "config/base.h"

struct testlist;

enum { TESTLIST_NO_FILE = UINT32_MAX };

struct testlist *testlist_new(void);
void testlist_free(struct testlist *list);

// Appends a test. `file` may be NULL; `unit` numbers the class or function it belongs to (equal numbers that are not
// next to each other are different units). 0; -1 when the id is no valid id (1 … 4096 bytes, no NUL, no newline) or the
// list is full (500,000): nothing was added.
int testlist_add(struct testlist *list, const char *id, size_t id_bytes, const char *file, uint32_t unit) MUST_CHECK;

// The test carries a mark: "gNAME", it is of that group; "tNAME", it needs that token. Marks come in the order of the
// tests. 0; -1 when the name is empty or cannot go over the wire (over 1,024 bytes, a newline), the test has
// TESTLIST_MARKS_MAX already, or the list two millions.
enum { TESTLIST_MARKS_MAX = 1000 };
int testlist_mark(struct testlist *list, size_t position, const char *mark) MUST_CHECK;
size_t testlist_mark_names(const struct testlist *list);
const char *testlist_mark_name(const struct testlist *list, size_t mark);
size_t testlist_marks(const struct testlist *list);  // in the order they were made
void testlist_mark_at(const struct testlist *list, size_t i, uint32_t *position, uint32_t *mark);

// Sorts, finds duplicates and computes the digest; before anything below (again: nothing more happens). Returns the
// number of duplicate ids; testlist_duplicate(list, i) names the i-th of them.
size_t testlist_seal(struct testlist *list);
const char *testlist_duplicate(const struct testlist *list, size_t i);

size_t testlist_count(const struct testlist *list);
uint32_t testlist_max_failures(const struct testlist *list);  // the runner's own bound on failures; 0: none
void testlist_set_max_failures(struct testlist *list, uint32_t max_failures);

// By collection order.
const char *testlist_id(const struct testlist *list, size_t position);
const char *testlist_file(const struct testlist *list, size_t position);  // NULL: none
uint32_t testlist_unit(const struct testlist *list, size_t position);
uint32_t testlist_file_index(const struct testlist *list, size_t position);  // TESTLIST_NO_FILE: none
size_t testlist_file_count(const struct testlist *list);
const char *testlist_file_name(const struct testlist *list, size_t file_index);
uint32_t testlist_file_find(const struct testlist *list, const char *file);    // its index, or TESTLIST_NO_FILE
uint32_t testlist_file_tests(const struct testlist *list, size_t file_index);  // how many tests are of that file

// By number on the wire (byte order): the position in collection order.
size_t testlist_position(const struct testlist *list, uint32_t number);
// The number of an id, or -1.
int64_t testlist_find(const struct testlist *list, const char *id, size_t id_bytes);
// SHA-256 of the ids in byte order, each followed by a newline: 32 bytes.
const uint8_t *testlist_digest(const struct testlist *list);

#endif
