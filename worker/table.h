// Prints the server's answers: an aligned table for people, JSON for programs. Called by the admin commands. Names come
// from strangers: a table shows controls, escapes and bidirectional marks as \xNN, JSON writes plain ASCII.
#ifndef WORKER_TABLE_H
#define WORKER_TABLE_H

#include <stdio.h>

#include "worker/answer.h"

struct table_look {
  bool color;
  const char *empty;  // line to print when there are no rows; NULL: none
};

// Numbers, durations, times and shares stand right, texts left; of a text with several lines the first is shown, and
// how many follow. 0; -1 when out failed.
int table_print(FILE *out, const struct answer *answer, const struct table_look *look) MUST_CHECK;

// Comma-separated values (RFC 4180), lines ending in CR LF: the names of the columns when `head`, then the rows, with
// members' names and values as in JSON: durations in µs, times in RFC 3339, shares from 0 to 1. 0; -1 when out failed.
int table_csv(FILE *out, const struct answer *answer, bool head) MUST_CHECK;

// The first row as lines of name and value; empty cells are left out. 0; -1 when out failed.
int table_print_record(FILE *out, const struct answer *answer) MUST_CHECK;

// An array of objects, one a row. Texts are strings (bytes that are no UTF-8 as \xNN), integers and durations are
// integers (durations in a member called NAME_us), times are strings in RFC 3339, shares are numbers from 0 to 1, other
// numbers are numbers, empty cells null. table_json_add appends the rows of a further page. 0; -1 when out failed.
struct json_t;
struct json_t *table_json_new(void);
void table_json_add(struct json_t *array, const struct answer *answer);
// {"build": [...], "workers": [...]}, of arrays, which it frees. 0; -1 when out failed.
struct table_member {
  const char *name;
  struct json_t *array;
};
int table_json_members(FILE *out, const struct table_member *members, size_t count) MUST_CHECK;
int table_json_finish(FILE *out, struct json_t *array) MUST_CHECK;  // writes and frees
void table_json_drop(struct json_t *array);                         // frees

#endif
