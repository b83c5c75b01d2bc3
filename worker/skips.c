// Skips in words. Called by report.c and history_build.c. Must not print: who shows a line makes it safe first.
#include "worker/skips.h"

#include <stdlib.h>

static char *of_trunk(const struct answer *answer, size_t row, int64_t tests) {
  char *branch = answer_get_text(answer, row, "branch");
  char *line = base_printf("%lld test%s skipped that ran on %s", (long long)tests, tests == 1 ? " was" : "s were",
                           branch[0] != '\0' ? branch : "the trunk");
  free(branch);
  return line;
}

static char *of_worker(const struct answer *answer, size_t row, int64_t worker, int64_t tests) {
  char *node = answer_get_text(answer, row, "node"), *host = answer_get_text(answer, row, "host");
  char *reason = answer_get_text(answer, row, "reason");
  char *number = base_printf("%lld", (long long)worker);
  bool named = node[0] != '\0';
  char *line = base_printf("%s %s%s%s skipped %lld test%s that ran elsewhere%s%s", named ? "node" : "worker",
                           named ? node : number, named || host[0] == '\0' ? "" : " on ", named ? "" : host,
                           (long long)tests, tests == 1 ? "" : "s", reason[0] != '\0' ? ": " : "", reason);
  free(node);
  free(host);
  free(reason);
  free(number);
  return line;
}

void skips_tell(const struct answer *answer, void (*say)(void *arg, char *line), void *arg) {
  size_t shown = answer->row_count > SKIPS_LINES ? SKIPS_LINES - 1 : answer->row_count, told = 0;
  for (size_t row = 0; row < shown; row++) {
    int64_t worker = answer_get_number(answer, row, "worker", -1), tests = answer_get_number(answer, row, "tests", 0);
    if (tests <= 0) continue;
    say(arg, worker < 0 ? of_trunk(answer, row, tests) : of_worker(answer, row, worker, tests));
    told++;
  }
  if (told == 0 || answer->row_count == shown) return;
  say(arg, base_printf("... and %s%zu more nodes or reasons; `shard build --json` has them all",
                       answer->rows->next != 0 ? "at least " : "", answer->row_count - shown));
}
