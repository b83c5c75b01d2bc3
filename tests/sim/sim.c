// The simulator's program: builds from a seed on until so many steps are done, or tapes from files.
//
//     sim [--seed S] [--steps N] [--jobs J] [--out FOLDER] [--trace] [TAPE…]
//
// A build that breaks an invariant leaves its tape, made as short as it goes, in FOLDER; what was said there replays
// it. With tapes, each of them must pass. Called by `make sim` and tests/sim/test_sim.py.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/shrink.h"

enum { JOBS_MAX = 64, PATH_BYTES = 512 };

struct arguments {
  uint64_t seed, steps, jobs;
  const char *out;
};

static void add(struct sim_counts *sum, const struct sim_counts *one) {
  uint64_t *to = (uint64_t *)sum;
  const uint64_t *from = (const uint64_t *)one;
  for (size_t i = 0; i < sizeof *one / sizeof *from; i++)
    to[i] += from[i];
}

static void report(const struct arguments *a, const struct sim_counts *c, uint64_t us) {
  (void)printf("sim: seed %" PRIu64 ": %" PRIu64 " steps in %" PRIu64 " builds, %.0f steps/s\n", a->seed, c->steps,
               c->builds, (double)c->steps * 1e6 / (double)(us ? us : 1));
  const struct {
    const char *name;
    uint64_t n;
  } row[] = {{"leases", c->grants},       {"current", c->current},
             {"late", c->late},           {"extra", c->extra},
             {"twice", c->duplicate},     {"sealed", c->sealed},
             {"unknown", c->unknown},     {"adopted", c->adopted},
             {"expired", c->expired},     {"recalls", c->recalls},
             {"released", c->released},   {"lost", c->lost},
             {"poisoned", c->poisoned},   {"restarts", c->restarts},
             {"cuts", c->cuts},           {"rounds", c->rounds},
             {"forgotten", c->forgotten}, {"tokens", c->with_tokens},
             {"aborted", c->aborted},     {"unsettled", c->unsettled},
             {"repeated", c->repeated},   {"contradicted", c->contradicted},
             {"fenced", c->fenced},       {"few", c->few},
             {"brought", c->brought},     {"cleared", c->cleared}};
  for (size_t i = 0; i < COUNT_OF(row); i++)
    (void)printf("%s%s %" PRIu64, i ? ", " : "  ", row[i].name, row[i].n);
  (void)printf("\n");
}

// ---- a finding

static int keep(const struct arguments *a, struct shrink_run *run) {
  char path[PATH_BYTES], note[PATH_BYTES];
  uint32_t before = run->tape.count;
  (void)printf("sim: seed %" PRIu64 " breaks %s: %s\n", run->seed, run->found.invariant, run->found.text);
  (void)fflush(stdout);
  if (!a->out) return 1;
  struct shrink_found first = run->found;
  shrink_replay(run);
  if (strcmp(run->found.invariant, first.invariant) != 0) {
    (void)printf("sim: its tape says something else: %s\n", run->found.invariant);
    return 1;
  }
  uint32_t tries = shrink_tape(run);
  (void)snprintf(path, sizeof path, "%s/seed-%" PRIu64 ".tape", a->out, run->seed);
  (void)snprintf(note, sizeof note, "%s: %s", run->found.invariant, run->found.text);
  (void)printf("sim: %u bytes of tape became %u in %u tries: %s\n", before, run->tape.count, tries, note);
  FILE *out = fopen(path, "w");
  int rc = out ? tape_write(&run->tape, note, out) : -1;
  if (out && fclose(out) != 0) rc = -1;
  if (rc == 0) (void)printf("sim: kept; sim --trace %s tells what happens in it\n", path);
  if (rc != 0) (void)printf("sim: %s cannot be written\n", path);
  return 1;
}

// ---- the two kinds of run

static int search(const struct arguments *a) {
  struct shrink_run *run = shrink_new((uint32_t)a->jobs);
  struct sim_counts sum = {0};
  int process[JOBS_MAX], broken = -1;
  uint64_t begin_us = base_now_us();
  for (uint64_t job = 0; job < a->jobs; job++)
    process[job] = shrink_start(&run[job], a->seed + job, a->jobs, (a->steps + a->jobs - 1) / a->jobs);
  for (uint64_t job = 0; job < a->jobs; job++) {
    shrink_wait(&run[job], process[job]);
    add(&sum, &run[job].counts);
    if (run[job].found.invariant[0]) broken = (int)job;
  }
  report(a, &sum, base_now_us() - begin_us);
  return broken < 0 ? 0 : keep(a, &run[broken]);
}

static int replay(struct shrink_run *run, const char *path) {
  FILE *in = fopen(path, "r");
  int rc = in ? tape_read(&run->tape, in) : -1;
  if (in) (void)fclose(in);
  if (rc != 0) {
    (void)printf("sim: %s is no tape\n", path);
    return 1;
  }
  shrink_replay(run);
  bool broken = run->found.invariant[0] != '\0';
  (void)printf("sim: %s: %s%s%s\n", path, broken ? run->found.invariant : "passes", broken ? ": " : "",
               run->found.text);
  return broken;
}

static struct arguments parse(int argc, char **argv) {
  static const struct option options[] = {
      {"seed", required_argument, NULL, 's'}, {"steps", required_argument, NULL, 'n'},
      {"jobs", required_argument, NULL, 'j'}, {"out", required_argument, NULL, 'o'},
      {"trace", no_argument, NULL, 't'},      {0}};
  struct arguments a = {.seed = 1, .steps = 1000000, .jobs = 1};
  int rc = 0;
  for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (o) {
      case 's': rc |= base_parse_u64(optarg, 0, UINT64_MAX, &a.seed); break;
      case 'n': rc |= base_parse_u64(optarg, 1, UINT64_MAX, &a.steps); break;
      case 'j': rc |= base_parse_u64(optarg, 1, JOBS_MAX, &a.jobs); break;
      case 'o': a.out = optarg; break;
      case 't': sim_tracing = true; break;
      default: rc = -1;
    }
  }
  if (rc != 0) base_die(EXIT_USAGE, "[--seed S] [--steps N] [--jobs J] [--out FOLDER] [--trace] [TAPE...]");
  return a;
}

int main(int argc, char **argv) {
  base_log_init("sim", LOG_LEVEL_ERROR);
  struct arguments a = parse(argc, argv);
  if (optind == argc) return search(&a);
  struct shrink_run *run = shrink_new(1);
  int broken = 0;
  for (int i = optind; i < argc; i++)
    broken |= replay(run, argv[i]);
  return broken;
}
