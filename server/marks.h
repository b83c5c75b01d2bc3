// What a list says of its tests beyond file and unit: groups that one worker runs, and tokens that tests need. Pure.
// Built from list chunks by listing.c, kept as text with the list by the store, and turned into the scheduler's and the
// queue's terms by build.c through marks_scopes and marks_needs.
#ifndef SERVER_MARKS_H
#define SERVER_MARKS_H

#include "server/tokens.h"

enum {
  MARKS_MAX = 100000,         // names
  MARKS_TESTS_MAX = 2000000,  // tests named, over all marks
  MARKS_TEXT_MAX = 64 << 20,  // bytes
};

enum marks_kind { MARKS_GROUP = 'g', MARKS_TOKEN = 't' };

// Tests of this token's name run while nothing else does.
#define MARKS_EXCLUSIVE "exclusive"

struct mark {
  enum marks_kind kind;
  char *name;
  uint32_t *test, count, room;  // positions, ascending
};

// Zeroed: none.
struct marks {
  struct mark *mark;
  uint32_t count, room, tests;
  size_t bytes;  // taken for names and tests
};

// A new name, or -1 when there are too many. Names are the caller's promise: no newline, no NUL.
int64_t marks_name(struct marks *marks, enum marks_kind kind, const void *name, size_t n);
// The test carries mark number `mark`. 0; -1 when there are too many, or the test comes before one that was added.
int marks_add(struct marks *marks, uint32_t mark, uint32_t test) MUST_CHECK;
void marks_release(struct marks *marks);
// What marks_text would take, at most.
size_t marks_text_bytes(const struct marks *marks);

// As text, a line for each mark: kind, name, newline, then its tests in decimal on a line of their own. "" when there
// are none. The caller frees it.
char *marks_text(const struct marks *marks, size_t *bytes);
// Reads that text into zeroed marks, of a list of `count` tests. 0; -1 when it makes no sense (release it all the
// same).
int marks_read(struct marks *marks, const char *text, size_t n, uint32_t count) MUST_CHECK;

// The scheduler's files: those of the list, and behind them one for each group, which is whole. A test of several
// groups belongs to the first. A group with a test that needs a token is no file: see marks_needs. Writes file_of for
// `count` tests; *whole (the caller frees it) says of each file whether it is whole. Returns the number of files.
uint32_t marks_scopes(const struct marks *marks, const uint32_t *list_file_of, uint32_t count, uint32_t file_count,
                      uint32_t *file_of, bool **whole);

// What each test needs: bits of tokens in the order of their names here, then one for each group that has a test with a
// token, whose tests run one after the other but on any worker. need has room for `count`. *tokens is the number of
// bits, names[i] the i-th one's (for its copies). False when there are more than TOKENS_MAX: the rest shares the last
// bit, of which there is one copy then.
bool marks_needs(const struct marks *marks, uint32_t count, uint64_t *need, const char *names[TOKENS_MAX],
                 uint32_t *tokens) MUST_CHECK;

#endif
