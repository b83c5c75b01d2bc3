// Child processes that run builds, and the shrinking of a tape that breaks one: ever smaller chunks are deleted, then
// set to zero, as long as the same invariant breaks. A child that dies by a signal, or does not end, has broken one,
// too.
#include "tests/sim/shrink.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHRINK_TRIES = 6000, SHRINK_REPLAY_S = 10 };

static struct shrink_run *current;  // in a child

_Noreturn void __assert_fail(const char *text, const char *file, unsigned line, const char *function);

struct shrink_run *shrink_new(uint32_t runs) {
  const int flags = MAP_SHARED | MAP_ANONYMOUS;
  // cppcheck-suppress invalidFunctionArg
  void *memory = mmap(NULL, runs * sizeof(struct shrink_run), PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) base_die(EXIT_INFRA, "no shared memory");
  return memory;
}

_Noreturn void sim_broken(const char *invariant, const char *format, ...) {
  va_list list;
  va_start(list, format);
  (void)snprintf(current->found.invariant, sizeof current->found.invariant, "%s", invariant);
  (void)vsnprintf(current->found.text, sizeof current->found.text, format, list);
  va_end(list);
  (void)fflush(stdout);  // a trace
  _exit(1);
}

// The C library's end of a failed assert, in its place: the core's asserts are invariants like all others.
_Noreturn void __assert_fail(const char *text, const char *file, unsigned line, const char *function) {
  char name[SHRINK_NAME_BYTES];
  (void)snprintf(name, sizeof name, "assert %s:%u", file, line);
  sim_broken(name, "%s: %s", function, text);
}

static int shrink_fork(struct shrink_run *run) {
  memset(&run->found, 0, sizeof run->found);
  (void)fflush(stdout);
  int child = fork();
  if (child < 0) base_die(EXIT_INFRA, "cannot start a process");
  if (child == 0) current = run;
  return child;
}

int shrink_start(struct shrink_run *run, uint64_t seed, uint64_t stride, uint64_t steps) {
  int child = shrink_fork(run);
  if (child != 0) return child;
  for (run->seed = seed; run->counts.steps < steps; run->seed += stride) {
    tape_begin(&run->tape, run->seed);
    (void)alarm(SHRINK_REPLAY_S);
    sim_build(&run->tape, &run->counts);
  }
  _exit(0);
}

void shrink_wait(struct shrink_run *run, int process) {
  int status;
  if (waitpid(process, &status, 0) != process) base_die(EXIT_INFRA, "a process was lost");
  if (run->found.invariant[0] || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return;
  int why = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  (void)snprintf(run->found.invariant, sizeof run->found.invariant, "signal %d", why);
  (void)snprintf(run->found.text, sizeof run->found.text, "%s",
                 why == SIGALRM ? "a build does not end" : "the process died");
}

void shrink_replay(struct shrink_run *run) {
  int child = shrink_fork(run);
  if (child == 0) {
    (void)alarm(SHRINK_REPLAY_S);
    tape_rewind(&run->tape);
    sim_build(&run->tape, &run->counts);
    (void)fflush(stdout);
    _exit(0);
  }
  shrink_wait(run, child);
}

// ---- shrinking

struct shrink {
  struct shrink_run *run;
  struct tape best;
  struct shrink_found found;
  uint32_t tries;
};

// The run's tape was changed: it becomes the best, or the best again.
static bool shrink_try(struct shrink *shrink) {
  shrink->tries++;
  shrink_replay(shrink->run);
  bool same = strcmp(shrink->run->found.invariant, shrink->found.invariant) == 0;
  if (same) {
    shrink->best = shrink->run->tape;
    shrink->found = shrink->run->found;
  } else {
    shrink->run->tape = shrink->best;
  }
  return same;
}

static bool shrink_delete(struct shrink *shrink, uint32_t at, uint32_t bytes) {
  struct tape *tape = &shrink->run->tape;
  memmove(tape->byte + at, tape->byte + at + bytes, tape->count - at - bytes);
  tape->count -= bytes;
  return shrink_try(shrink);
}

static bool shrink_zero(struct shrink *shrink, uint32_t at, uint32_t bytes) {
  static const uint8_t zero[TAPE_MAX];
  if (memcmp(shrink->run->tape.byte + at, zero, bytes) == 0) return false;
  memset(shrink->run->tape.byte + at, 0, bytes);
  return shrink_try(shrink);
}

// One pass over the tape from its end; true: it became better.
static bool shrink_pass(struct shrink *shrink, uint32_t bytes, bool (*change)(struct shrink *, uint32_t, uint32_t)) {
  bool better = false;
  for (uint32_t at = shrink->best.count; at >= bytes && shrink->tries < SHRINK_TRIES;) {
    at -= bytes;
    better |= change(shrink, at, bytes);
    if (at > shrink->best.count) at = shrink->best.count;
  }
  return better;
}

uint32_t shrink_tape(struct shrink_run *run) {
  static struct shrink shrink;
  shrink = (struct shrink){.run = run, .best = run->tape, .found = run->found};
  for (bool better = true; better && shrink.tries < SHRINK_TRIES;) {
    better = false;
    for (uint32_t bytes = shrink.best.count / 2; bytes > 0; bytes /= 2) {
      better |= shrink_pass(&shrink, bytes, shrink_delete);
      better |= shrink_pass(&shrink, bytes, shrink_zero);
    }
  }
  run->tape = shrink.best;
  run->found = shrink.found;
  return shrink.tries;
}
