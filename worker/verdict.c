// What a build's verdict makes of exit codes. Called by admin.c (`shard wait`) and local.c. 2 stands above 16 because
// it names the cause: a wrong option breaks workers, and a CI that runs 16 again would run it in vain. It must not
// print.
#include "worker/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"

static const int ranks[] = {EXIT_OK, EXIT_EMPTY, EXIT_TESTS_FAILED, EXIT_INFRA, EXIT_USAGE};  // worse and worse

static size_t rank_of(int code);

int verdict_read(struct verdict *verdict, const struct answer *answer) {
  int64_t code = answer_get_number(answer, 0, "exit_code", -1), total = answer_get_number(answer, 0, "total", -1);
  int64_t missing = answer_get_number(answer, 0, "missing", -1), failing = answer_get_number(answer, 0, "failing", -1);
  ProtobufCBinaryData state = answer_cell(answer, 0, answer_column(answer, "state"));
  bool whole = code >= 0 && code <= 255 && total >= 0 && missing >= 0 && failing >= 0 && state.len > 0;
  if (!whole || state.len >= VERDICT_STATE_BYTES) return -1;
  *verdict = (struct verdict){.exit_code = (int)code,
                              .total = total,
                              .settled = answer_get_number(answer, 0, "settled", 0),
                              .failing = failing,
                              .flaky = answer_get_number(answer, 0, "flaky", 0),
                              .missing = missing,
                              .muted = answer_get_number(answer, 0, "muted", 0)};
  (void)escape_bytes(verdict->state, sizeof verdict->state - 1, state.data, state.len, ESCAPE_LINE);
  ProtobufCBinaryData why = answer_cell(answer, 0, answer_column(answer, "text"));
  verdict->why = human_safe(why.data, why.len, ESCAPE_LINE);
  return 0;
}

void verdict_release(struct verdict *verdict) {
  free(verdict->why);
  verdict->why = NULL;
}

int verdict_code(const struct verdict *verdict, bool allow_empty) {
  if (verdict->exit_code != EXIT_OK) return verdict->exit_code;
  if (strcmp(verdict->state, "complete") != 0 || verdict->missing > 0) return EXIT_INFRA;
  if (verdict->failing > 0) return EXIT_TESTS_FAILED;
  return verdict->total > 0 || allow_empty ? EXIT_OK : EXIT_EMPTY;
}

int verdict_worst(const int *codes, size_t count) {
  size_t worst = 0;
  if (count == 0) return EXIT_INFRA;
  for (size_t i = 0; i < count; i++)
    if (rank_of(codes[i]) > worst) worst = rank_of(codes[i]);
  return ranks[worst];
}

static size_t rank_of(int code) {
  size_t infra = 0;
  for (size_t i = 0; i < COUNT_OF(ranks); i++) {
    if (ranks[i] == code) return i;
    if (ranks[i] == EXIT_INFRA) infra = i;
  }
  return infra;
}
