// Settles a batch of the command runner, process by process. Called by runner_command.c. Three kinds of process
// (enum pass): the batch; a test that had no row in it, alone; and once more what passed, when the batch did not end
// well and failing tests explain it, since a failure may be cleared by a later run of that test alone. A test passes
// only by a row that is known to be its own and whole, and a process that ends with an error needs a failing test that
// explains it, or is an error of its own. It must not start processes.
#include "worker/command_settle.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static bool failing(enum runner_status status) {
  return status != RUNNER_PASSED && status != RUNNER_SKIPPED && status != RUNNER_XFAILED && status != RUNNER_XPASSED;
}

// The signal that ended the process, or the program that its shell ran; 0: none.
static int signal_of(int status) {
  static const int fatal[] = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGSYS};
  if (WIFSIGNALED(status)) return WTERMSIG(status);
  for (size_t i = 0; i < COUNT_OF(fatal); i++)
    if (WIFEXITED(status) && WEXITSTATUS(status) == 128 + fatal[i]) return fatal[i];
  return 0;
}

static struct slot *slot_of(struct runner *runner, size_t inside) {
  return &runner->slot[runner->inside[inside]];
}

static void forget_text(struct slot *slot) {
  free(slot->text);
  slot->text = NULL;
}

void command_settle_begin(struct runner *runner) {
  assert(!runner->slot && runner->running > 0);
  runner->slot = base_calloc(runner->running, sizeof(*runner->slot));
  runner->inside = base_calloc(runner->running, sizeof(*runner->inside));
  for (size_t i = 0; i < runner->running; i++)
    runner->inside[i] = i;
  runner->inside_count = runner->running;
  runner->pass = PASS_BATCH;
}

void command_settle_release(struct runner *runner) {
  for (size_t i = 0; runner->slot && i < runner->running; i++)
    forget_text(&runner->slot[i]);
  free(runner->slot);
  free(runner->inside);
  free(runner->open_end);
  runner->slot = NULL;
  runner->inside = NULL;
  runner->inside_count = 0;
  runner->open_end = NULL;
  runner->open_guess = runner->open_stray = false;
}

// ---- telling

static void tell(struct runner *runner, struct slot *slot) {
  slot->result.text = slot->text;
  slot->state = SLOT_TOLD;
  slot->failed = failing(slot->result.status);
  runner->spec.events.on_result(runner->spec.events.arg, &slot->result);
  forget_text(slot);
}

// A test that was alone in its process and has no row: what the process did is its result.
static void tell_rowless(struct runner *runner, size_t inside, const char *problem) {
  struct slot *slot = slot_of(runner, inside);
  const struct runner_test *test = command_test(runner, inside);
  char how[RUNNER_CAP_TEXT_BYTES], rows[512], *said;
  size_t n;
  slot->result = (struct runner_result){.tag = test->tag,
                                        .status = runner->timed_out           ? RUNNER_TIMED_OUT
                                                  : signal_of(runner->status) ? RUNNER_CRASHED
                                                                              : RUNNER_ERROR,
                                        .start_us = runner->start_wall_us,
                                        .call_us = runner->wall_us,
                                        .first = true};
  bool first = !runner->timed_out && !signal_of(runner->status);
  runner->rowless = first ? runner->rowless + 1 : 0;
  said = excerpt_text(&runner->output, &n);
  forget_text(slot);
  if (runner->timed_out) {
    runner_cap_text(test, how);
    slot->text = base_printf("%s%s%s", said, n ? "\n" : "", how);
  } else if (WIFSIGNALED(runner->status) || !first) {
    const char *name = sigabbrev_np(signal_of(runner->status));
    slot->text = base_printf("%s%s%s%s%s", said, n ? "\n" : "", proc_describe(runner->status, how, sizeof(how)),
                             WIFSIGNALED(runner->status) ? "" : ": a shell's for SIG",
                             WIFSIGNALED(runner->status) ? ""
                             : name                      ? name
                                                         : "?");
  } else {
    slot->text = base_printf("no result: nothing shows that this test ran. The test command ended with %s; %s%s%s\n%s",
                             proc_describe(runner->status, how, sizeof(how)),
                             command_results_describe(runner->batch.results, rows, sizeof(rows)),
                             problem[0] ? "; " : "", problem, said);
  }
  slot->result.text_bytes = strlen(slot->text);
  free(said);
  tell(runner, slot);
}

// Keeps a row as the test's result, to be told or held. A failure without words gets what the process said.
static void keep_row(struct runner *runner, size_t inside, const struct command_outcome *row) {
  struct slot *slot = slot_of(runner, inside);
  forget_text(slot);
  slot->result.tag = command_test(runner, inside)->tag;
  slot->result.status = row->status;
  slot->result.text_bytes = row->text_bytes;
  if (row->text_bytes)
    slot->text = base_memdup0(row->text, row->text_bytes);
  else if (failing(row->status))
    slot->text = excerpt_text(&runner->output, &slot->result.text_bytes);
}

// ---- judging

// Ended by a signal, by us, or with a report that is not complete.
static bool cut(const struct runner *runner, bool whole) {
  return !whole || runner->timed_out || signal_of(runner->status);
}

// Whether a row settles its test. A row of the test's own name is whole; rows of cases in it may lack the worst when
// the report or the process was cut short.
static bool settles(const struct runner *runner, const struct command_outcome *row, bool whole) {
  return row->known && (failing(row->status) || row->named || !cut(runner, whole));
}

// The process's time over its tests: the start-up goes to the set-up of the first, the rest by what the rows say. When
// the process was cut short, its time says nothing of those that have a row.
static void share_time(struct runner *runner, bool whole) {
  size_t count = runner->inside_count;
  uint64_t *share_us = base_calloc(count, sizeof(*share_us)), rows_us = 0, start_us = 0;
  bool broken = cut(runner, whole);
  for (size_t i = 0; i < count; i++) {
    struct command_outcome row = command_results_get(runner->batch.results, i);
    broken = broken || !row.known;
    share_us[i] = row.known && row.has_time ? row.time_us : UINT64_MAX;
    rows_us += row.known && row.has_time ? row.time_us : 0;
  }
  if (!broken) {
    command_share_learn(&runner->share, count, runner->wall_us, rows_us);
    start_us = command_share_start_us(&runner->share);
    command_share_out(share_us, count, runner->wall_us, start_us);
  }
  uint64_t at_us = runner->start_wall_us;
  for (size_t i = 0; i < count; i++) {
    struct runner_result *result = &slot_of(runner, i)->result;
    if (slot_of(runner, i)->state == SLOT_HELD) continue;  // confirmed: what it took the first time counts
    result->first = i == 0;
    result->start_us = at_us;
    result->setup_us = i == 0 ? start_us : 0;
    result->call_us = share_us[i] == UINT64_MAX ? command_test(runner, i)->est_us : share_us[i];
    at_us += result->setup_us + result->call_us;
  }
  free(share_us);
}

// Up to NAMED_MAX of the tests in the process, for people; the caller frees it.
static char *names_of(const struct runner *runner) {
  char *names = base_strdup("");
  for (size_t i = 0; i < runner->inside_count && i < NAMED_MAX; i++) {
    char *more = base_printf("%s%s'%.80s'", names, i ? ", " : "", command_test(runner, i)->id);
    free(names);
    names = more;
  }
  return names;
}

static bool any_failed(const struct runner *runner) {
  for (size_t i = 0; i < runner->running; i++)
    if (runner->slot[i].failed) return true;
  return false;
}

// How the process ended, for people, when a failing test has to explain it; NULL: it ended well. One that we ended did
// not, whatever it made of SIGTERM; but a batch proves nothing by that while tests of it are still to run alone.
static char *bad_end(struct runner *runner, bool whole, const char *problem, size_t missing) {
  const char *stray = command_results_stray(runner->batch.results);
  bool confirm = runner->pass == PASS_CONFIRM, blamed = any_failed(runner) || (stray && missing > 0);
  bool lacks = (!whole && missing == 0) || (confirm && missing > 0);
  if (runner->status == 0 && !runner->timed_out && !stray && !lacks) return NULL;
  if (runner->timed_out && missing > 0 && !stray && !confirm) return NULL;
  char how[64], rows[512], limit[COMMAND_LIMIT_TEXT_BYTES] = "", *names = names_of(runner);
  size_t n;
  char *said = excerpt_text(&runner->output, &n);
  if (runner->timed_out) command_limit_text(&runner->limit, limit);
  char *text = base_printf("test command '%s' ended with %s%s%s%s%s; its tests: %s%s; %s%s%s%s%s%s\n%s",
                           runner->spec.argv[0], proc_describe(runner->status, how, sizeof(how)),
                           runner->timed_out ? " (stopped: " : "", limit, runner->timed_out ? ")" : "",
                           !confirm             ? blamed ? "" : " though no test of its batch failed"
                           : runner->open_guess ? " when its tests ran once more with a longer limit"
                                                : " when the tests that had passed ran again without those that failed",
                           names, runner->inside_count > NAMED_MAX ? ", ..." : "",
                           command_results_describe(runner->batch.results, rows, sizeof(rows)),
                           stray ? "; failed outside of them: '" : "", stray ? stray : "", stray ? "'" : "",
                           lacks && problem[0] ? "; " : "", lacks ? problem : "", said);
  free(said);
  free(names);
  return text;
}

// The rows of the process that is gone: failures are told, what passed is held until the batch's end is explained, what
// has no row is missing. What passed alone is told, and what had passed before stays held.
static size_t take_rows(struct runner *runner, bool whole, size_t *failed) {
  size_t missing = 0;
  bool alone = runner->inside_count == 1 && runner->pass != PASS_CONFIRM;
  for (size_t i = 0; i < runner->inside_count; i++) {
    struct command_outcome row = command_results_get(runner->batch.results, i);
    struct slot *slot = slot_of(runner, i);
    runner->rows_seen = runner->rows_seen || row.known;
    if (!settles(runner, &row, whole)) {
      missing++;
      if (slot->state != SLOT_HELD) slot->state = SLOT_MISSING;
    } else if (failing(row.status)) {
      keep_row(runner, i, &row);
      tell(runner, slot);
      (*failed)++;
    } else if (slot->state != SLOT_HELD) {
      keep_row(runner, i, &row);
      slot->state = SLOT_HELD;
      if (alone) tell(runner, slot);
    }
  }
  return missing;
}

static void tell_held(struct runner *runner) {
  for (size_t i = 0; i < runner->running; i++)
    if (runner->slot[i].state == SLOT_HELD) tell(runner, &runner->slot[i]);
}

// ---- what comes next

static bool next_alone(struct runner *runner) {
  for (size_t i = 0; i < runner->running; i++) {
    if (runner->slot[i].state != SLOT_MISSING) continue;
    runner->inside[0] = i;
    runner->inside_count = 1;
    runner->pass = PASS_ALONE;
    return true;
  }
  return false;
}

// All that passed in every process so far, in one process again: fewer each time.
static bool next_confirm(struct runner *runner) {
  runner->inside_count = 0;
  for (size_t i = 0; i < runner->running; i++)
    if (runner->slot[i].state == SLOT_HELD) runner->inside[runner->inside_count++] = i;
  runner->pass = PASS_CONFIRM;
  return runner->inside_count > 0;
}

// Whether a failing test explains how the batch's first process ended: any of them an exit status, only one that died
// by itself a signal.
static bool explained(const struct runner *runner) {
  for (size_t i = 0; i < runner->running; i++) {
    const struct slot *slot = &runner->slot[i];
    if (!slot->failed) continue;
    if (!runner->open_signal || runner->running == 1 || slot->result.status == RUNNER_CRASHED) return true;
  }
  return false;
}

// No test is missing any more: one more process confirms what passed, or all is told and the batch is over. No failing
// test explains a failure outside of the tests: only a process that ran without it does.
static void conclude(struct runner *runner) {
  bool late = runner->open_end && (!runner->open_guess || runner->open_stray) && !explained(runner);
  if (runner->open_end && !late && runner->pass != PASS_CONFIRM) {
    if (next_confirm(runner)) return;
    late = runner->open_stray;
  }
  if (late) {
    command_late(runner, runner->open_end);
    runner->open_end = NULL;
  }
  tell_held(runner);
  runner->inside_count = 0;
}

// Nothing that this command ran has ever had a row: the command or the way its results are read is wrong.
static bool hopeless(const struct runner *runner) {
  return !runner->rows_seen && runner->rowless >= ROWLESS_MAX;
}

static void give_up(struct runner *runner, const char *problem) {
  char how[64], rows[512];
  command_fail(runner, WIFEXITED(runner->status) ? WEXITSTATUS(runner->status) : -1,
               "%d tests given to '%s', each alone, have no result, the last was '%.150s'; %s; %s%s%s. Every test that "
               "is given must be reported under its id: check the test command and --results",
               ROWLESS_MAX, runner->spec.argv[0], command_test(runner, 0)->id,
               proc_describe(runner->status, how, sizeof(how)),
               command_results_describe(runner->batch.results, rows, sizeof(rows)), problem[0] ? "; " : "", problem);
}

// Whether the process was ended by its limit or died of a signal, which failing rows do not explain. Some tools exit
// with the number of failures.
static bool died(const struct runner *runner, size_t failed) {
  if (runner->timed_out) return true;
  return signal_of(runner->status) && (WIFSIGNALED(runner->status) || failed < (size_t)WEXITSTATUS(runner->status));
}

bool command_settle_process(struct runner *runner, bool whole, const char *problem) {
  size_t failed = 0;
  bool batch = runner->pass == PASS_BATCH, confirm = runner->pass == PASS_CONFIRM;
  share_time(runner, whole);
  size_t missing = take_rows(runner, whole, &failed);
  char *end = bad_end(runner, whole, problem, missing);
  bool alone_without_row = missing > 0 && runner->inside_count == 1 && !confirm, unconfirmed = false;
  bool stray = command_results_stray(runner->batch.results);
  bool unexplained = died(runner, failed) || missing > 0 || stray;
  if (alone_without_row) tell_rowless(runner, 0, problem);
  if (batch) {
    runner->open_end = end;
    runner->open_signal = died(runner, failed);
    runner->open_stray = stray;
    runner->open_guess = end && runner->timed_out && runner->limit.guessed && missing == 0;
  } else if (end && (stray || (!alone_without_row && failed == 0) || (confirm && unexplained))) {
    command_late(runner, end);
  } else {
    unconfirmed = confirm && end;  // only a failure explains how this one ended, and it may pass later
    free(end);
  }
  if (unconfirmed && next_confirm(runner)) return true;
  if (hopeless(runner)) {
    give_up(runner, problem);
    return false;
  }
  if (confirm || !next_alone(runner)) conclude(runner);
  return true;
}
