// Durations of tests that were measured elsewhere: the .test_durations of pytest-split (JSON), JUnit XML, and CSV as
// timings.h has it. Filled file by file by import.c. Knows nothing of the server.
#ifndef WORKER_DURATIONS_H
#define WORKER_DURATIONS_H

#include "worker/limits.h"

enum { DURATIONS_MAX_BYTES = 64 * 1024 * 1024 };  // of a file of JSON; JUnit and CSV have bounds of their own

// The numbers of --format (options.h).
enum durations_format { DURATIONS_AUTO, DURATIONS_SPLIT, DURATIONS_JUNIT, DURATIONS_CSV };

struct durations_test {
  char *id, *file;  // file NULL: none
  uint64_t us;
  size_t order;  // in which it came
};

struct durations {
  struct durations_test *test;
  size_t count, room;
  size_t skipped;                        // JUnit: cases that did not pass or tell no time
  size_t nameless;                       // JUnit: cases of which no test's id and file can be made
  size_t rows;                           // of all files
  size_t left_out;                       // of the rows: no id of a test, or no time from 0 to a week
  char first_left_out[LIMIT_WHY_BYTES];  // "PATH:LINE: why"; "": none
  char lost[LIMIT_WHY_BYTES];            // "PATH: what could not be read"; "": nothing
};

void durations_init(struct durations *durations);
void durations_release(struct durations *durations);

// What DURATIONS_AUTO is for a path: .xml is JUnit, .csv is CSV, everything else .test_durations.
enum durations_format durations_format(enum durations_format format, const char *path);

// Adds the tests of a file. A row that is not a test and its time is left out and counted. JUnit: those that passed; a
// test's id is made of the case's file, class and name as pytest writes them, where the file is not told it is looked
// for below the working folder. 0; -1 and in why "PATH:LINE: what is wrong".
int durations_read(struct durations *durations, const char *path, enum durations_format format, char *why,
                   size_t why_size) MUST_CHECK;
// 0; -1: no valid id, a file's name over 1,024 bytes, longer than a week, or the list is full (500,000).
int durations_add(struct durations *durations, const char *id, size_t id_bytes, const char *file,
                  uint64_t us) MUST_CHECK;
// Counts a row that is left out, and keeps the first reason.
void durations_leave_out(struct durations *durations, const char *fmt, ...) PRINTF(2, 3);
// An id as Python's json writes it, in ASCII with its quotes; the caller frees it. NULL: it is not UTF-8.
char *durations_json(const char *id, size_t id_bytes);
// Orders them by id; of a test that came several times the last stays.
void durations_sort(struct durations *durations);

#endif
