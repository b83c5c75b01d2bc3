// Power cuts: the real store, with its thread, on a disk that forgets what was not synced (cutdisk.h), under a clock of
// the test's own (clock.h). A life opens the store on what the cut before has left, compares everything with the model
// (cutmodel.h), puts more, and loses its power somewhere: while it opens, commits, checkpoints, learns, drops, closes.
// Every record that the store had called durable must be there, and nothing that was never put; of the one transaction
// that was under way, all or nothing. A chain of lives starts from its own seed on an empty disk.
//
//     powercut [--cuts N] [--seed S] [--jobs J] [--control NORMAL|OFF]
//
// With --control the same runs with a weaker `synchronous`, and must lose what was acknowledged: the test can fail.
// Called by `make powercut` and tests/chaos/test_powercut.py.
#include <assert.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/store.h"
#include "tests/chaos/clock.h"
#include "tests/chaos/cutdisk.h"
#include "tests/chaos/cutwork.h"

enum {
  CHAIN_LIVES = 48,
  BATCHES = 6,
  JOBS_MAX = 64,
  KEEP_HOURS = 24,
  CUT_BITS = 9,  // a cut comes within the first 2^9 changes of a life, small numbers more often
  FLOOD_ONE_IN = 150,
  FOLDER_BYTES = 256,
  WAIT_STEPS = 1000,
};

static const uint64_t window_us = STORE_WINDOW_US, hour_us = UINT64_C(3600000000);

struct totals {
  uint64_t cuts, at_rest, acked, lost, losing_cuts, failures;
};

struct life {
  struct store *store;
  struct model after[BATCHES + 1];  // [0]: as opened; [n]: with n batches
  uint64_t ticket[BATCHES + 1];     // of the last record of each batch
  unsigned put, acked;              // batches; acked: when the power went
  bool cut;
};

struct chain {
  uint64_t seed;
  struct rng rng;
  struct cutdisk *disk;
  struct model expect[2];  // what the disk may hold now: all that was durable; and with the batch that was under way
  unsigned expect_count;
  struct model before[BATCHES + 1];  // the control: earlier batches, newest first
  unsigned before_count, life, lives;
  uint32_t epoch;
  bool failed;
};

static char folder[FOLDER_BYTES], path[FOLDER_BYTES + 16];
static const char *control;

static void run_life(struct chain *chain, struct totals *totals);
static void verify(struct chain *chain, struct model *now, struct totals *totals);
static bool lost_before(struct chain *chain, const struct found *found, struct model *now, struct totals *totals);
static void check_replay(struct chain *chain, struct store *store, const struct model *now);
static void work(struct chain *chain, struct life *life);
static void on_cut(void *arg);
static void after_cut(struct chain *chain, struct life *life, struct totals *totals);
static void fail(struct chain *chain, const char *why);

static void run_chain(uint64_t seed, uint64_t cuts, struct totals *totals) {
  struct chain chain = {.seed = seed, .rng = {seed}, .expect_count = 1, .lives = CHAIN_LIVES};
  chain.disk = cutdisk_new(rng_next(&chain.rng));
  for (uint64_t end = totals->cuts + cuts; chain.life < chain.lives && totals->cuts < end && !chain.failed;
       chain.life++)
    run_life(&chain, totals);
  totals->failures += chain.failed;
  cutdisk_free(chain.disk);
}

static void run_life(struct chain *chain, struct totals *totals) {
  static struct life life;
  const struct store_options options = {.path = path, .keep_results_us = KEEP_HOURS * hour_us};
  struct store_error error = {""};
  life = (struct life){.after[0] = chain->expect[chain->expect_count - 1]};
  if (rng_one_in(&chain->rng, 10)) clock_advance_wall((KEEP_HOURS + 1) * hour_us);
  clock_forget();
  cutdisk_mount(chain->disk);
  cutdisk_plan(chain->disk, 1 + rng_below(&chain->rng, 1U << (1 + rng_below(&chain->rng, CUT_BITS))), on_cut, &life);
  struct store *store = store_open(&options, &error);
  if (store == NULL) return fail(chain, error.text);
  clock_settle();  // it learns and drops what is due; nothing was put yet that could be acknowledged
  life.store = store;
  if (store_epoch(life.store) <= chain->epoch && !control) fail(chain, "an epoch came twice");
  if (!life.cut) chain->epoch = store_epoch(life.store);
  verify(chain, &life.after[0], totals);
  if (!chain->failed) check_replay(chain, life.store, &life.after[0]);
  if (!chain->failed) work(chain, &life);
  if (!life.cut) life.store = NULL, life.acked = life.put;  // from here on everything has been acknowledged
  store_close(store);
  if (!chain->failed) after_cut(chain, &life, totals);
}

// Compares the disk with what it may hold; *now becomes what it does hold.
static void verify(struct chain *chain, struct model *now, struct totals *totals) {
  struct found found;
  char why[MODEL_WHY_BYTES] = "";
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
  bool read = rc == SQLITE_OK && model_read(db, &found, why), same = false;
  if (rc != SQLITE_OK) (void)snprintf(why, sizeof why, "cannot be opened: %s", sqlite3_errmsg(db));
  sqlite3_close(db);
  for (unsigned i = chain->expect_count; read && !same && i-- > 0;) {
    *now = chain->expect[i];
    model_purge(now, clock_wall_ms(), KEEP_HOURS * hour_us);
    same = model_same(now, &found, why);
  }
  totals->acked += model_results(&chain->expect[0]);
  if (same || (read && lost_before(chain, &found, now, totals))) return;
  fail(chain, why);
}

// The control is expected to lose, but never to mix: what it holds was true once.
static bool lost_before(struct chain *chain, const struct found *found, struct model *now, struct totals *totals) {
  char why[MODEL_WHY_BYTES];
  if (!control) return false;
  for (unsigned i = 0; i < chain->before_count; i++) {
    *now = chain->before[i];
    model_purge(now, clock_wall_ms(), KEEP_HOURS * hour_us);
    if (!model_same(now, found, why)) continue;
    uint64_t acked = model_results(&chain->expect[0]), held = model_results(&chain->before[i]);
    totals->lost += acked > held ? acked - held : 0;
    totals->losing_cuts++;
    return true;
  }
  return false;
}

// ---- the store's own reading of a build, as recovery uses it

struct replayed {
  uint32_t results, workers, tests;
};

static void on_build(void *arg, const struct store_build *build, uint32_t state, uint32_t round) {
  (void)arg, (void)build, (void)state, (void)round;
}

static void on_worker(void *arg, const struct store_worker *worker, uint64_t acked, bool left, const char *late) {
  (void)worker, (void)acked, (void)left, (void)late;
  ((struct replayed *)arg)->workers++;
}

static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  (void)listed;
  ((struct replayed *)arg)->tests = list->count;
}

static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  (void)arg, (void)round, (void)tests, (void)count;
}

static void on_result(void *arg, const struct store_result *result) {
  (void)result;
  ((struct replayed *)arg)->results++;
}

static void check_replay(struct chain *chain, struct store *store, const struct model *now) {
  if (now->count == 0) return;
  struct replayed replayed = {0};
  const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, &replayed};
  uint64_t id = 1 + rng_below(&chain->rng, now->count);
  const struct model_build *build = &now->build[id - 1];
  if (store_replay_build(store, id, &replay) != 0) return fail(chain, "a build cannot be replayed");
  if (store_next_build(store) != now->count + 1) return fail(chain, "the next build's id is wrong");
  if (build->purged) return;
  if (replayed.results != build->results || replayed.workers != build->worker_count ||
      replayed.tests != (build->listed ? build->test_count : 0))
    fail(chain, "a build is replayed otherwise than it was put");
}

// ---- one life's work

static void work(struct chain *chain, struct life *life) {
  unsigned batches = 1 + rng_below(&chain->rng, BATCHES);
  bool flood = rng_one_in(&chain->rng, FLOOD_ONE_IN);
  if (flood) chain->lives = chain->life + 2;  // five megabytes more to read in each life
  while (life->put < batches && !life->cut) {
    unsigned n = life->put + 1;
    life->after[n] = life->after[n - 1];
    life->ticket[n] = cutwork_burst(life->store, &life->after[n], &chain->rng, flood && n == 1);
    life->put = n;
    clock_advance(window_us);
    if (store_durable(life->store) != life->ticket[n]) return fail(chain, "a batch did not become durable");
    for (struct store_listed *listed; (listed = store_poll(life->store)) != NULL; store_listed_free(listed))
      cutwork_listed(&life->after[n], listed);
  }
}

// On whichever thread made the change: what the loop could have acknowledged by now.
static void on_cut(void *arg) {
  struct life *life = arg;
  life->cut = true;
  if (life->store == NULL) return;  // while it opened, or after everything was acknowledged
  uint64_t durable = store_durable(life->store);
  while (life->acked < life->put && life->ticket[life->acked + 1] <= durable)
    life->acked++;
}

static void after_cut(struct chain *chain, struct life *life, struct totals *totals) {
  struct cutdisk *left = cutdisk_left(chain->disk);
  totals->cuts++;
  totals->at_rest += !life->cut;
  chain->expect[0] = life->after[life->acked];
  chain->expect_count = 1;
  if (life->acked < life->put) chain->expect[chain->expect_count++] = life->after[life->acked + 1];
  chain->before_count = 0;
  for (unsigned i = life->acked; i-- > 0;)
    chain->before[chain->before_count++] = life->after[i];
  cutdisk_free(chain->disk);
  chain->disk = left;
}

static void fail(struct chain *chain, const char *why) {
  chain->failed = true;
  (void)fprintf(stderr, "powercut: seed %" PRIu64 ", life %u: %s\n", chain->seed, chain->life, why);
}

// ---- the run

struct arguments {
  uint64_t cuts, seed, jobs;
};

static int on_entry(const char *name, const struct stat *st, int flag, struct FTW *ftw) {
  (void)st, (void)flag, (void)ftw;
  return remove(name);
}

static void run_chains(const struct arguments *a, uint64_t job, struct totals *totals) {
  const char *tmp = getenv("TMPDIR");
  (void)snprintf(folder, sizeof folder, "%s/powercut-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
  if (mkdtemp(folder) == NULL) base_die(EXIT_INFRA, "%s: cannot make it", folder);
  (void)snprintf(path, sizeof path, "%s/history.db", folder);
  uint64_t cuts = a->cuts / a->jobs + (job < a->cuts % a->jobs);
  for (uint64_t seed = a->seed + job; totals->cuts < cuts && totals->failures == 0; seed += a->jobs) {
    run_chain(seed, cuts - totals->cuts, totals);
  }
  (void)nftw(folder, on_entry, 8, FTW_DEPTH | FTW_PHYS);
}

// Each job is a process of its own: SQLite's default file system belongs to the process.
static pid_t start(const struct arguments *a, uint64_t job, int out) {
  pid_t child = fork();
  if (child != 0) return child;
  struct totals totals = {0};
  run_chains(a, job, &totals);
  _exit(write(out, &totals, sizeof totals) == sizeof totals ? 0 : 1);
}

static bool run_jobs(const struct arguments *a, struct totals *sum) {
  pid_t child[JOBS_MAX];
  int pipes[2], status;
  bool ok = pipe(pipes) == 0;
  struct totals one;
  for (uint64_t job = 0; job < a->jobs; job++)
    child[job] = start(a, job, pipes[1]);
  for (uint64_t job = 0; job < a->jobs; job++) {
    ok &= child[job] > 0 && waitpid(child[job], &status, 0) == child[job] && status == 0;
  }
  close(pipes[1]);
  while (read(pipes[0], &one, sizeof one) == sizeof one) {
    uint64_t *to = (uint64_t *)sum, *from = (uint64_t *)&one;
    for (size_t i = 0; i < sizeof one / sizeof *to; i++)
      to[i] += from[i];
  }
  close(pipes[0]);
  return ok;
}

static struct arguments parse(int argc, char **argv) {
  static const struct option options[] = {{"cuts", required_argument, NULL, 'c'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"control", required_argument, NULL, 'n'},
                                          {0}};
  struct arguments a = {.cuts = 20000, .seed = 1, .jobs = 2};
  int rc = 0;
  for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (o) {
      case 'c': rc |= base_parse_u64(optarg, 1, UINT32_MAX, &a.cuts); break;
      case 's': rc |= base_parse_u64(optarg, 0, UINT64_MAX, &a.seed); break;
      case 'j': rc |= base_parse_u64(optarg, 1, JOBS_MAX, &a.jobs); break;
      case 'n': control = optarg; break;
      default: rc = -1;
    }
  }
  if (rc != 0 || optind != argc) base_die(EXIT_USAGE, "[--cuts N] [--seed S] [--jobs J] [--control NORMAL|OFF]");
  return a;
}

int main(int argc, char **argv) {
  base_log_init("powercut", LOG_LEVEL_ERROR);
  struct arguments a = parse(argc, argv);
  struct totals sum = {0};
  if (control) cutdisk_weaken(control);
  bool ok = run_jobs(&a, &sum) && sum.failures == 0 && sum.cuts >= a.cuts;
  (void)printf("powercut: %s, seed %" PRIu64 ": %" PRIu64 " cuts (%" PRIu64 " at rest), %" PRIu64
               " acknowledged results looked for, %" PRIu64 " lost in %" PRIu64 " cuts\n",
               control ? control : "FULL", a.seed, sum.cuts, sum.at_rest, sum.acked, sum.lost, sum.losing_cuts);
  if (!ok) (void)printf("powercut: FAILED; repeat a seed alone with --cuts %d --jobs 1\n", CHAIN_LIVES);
  if (control && sum.lost == 0) (void)printf("powercut: FAILED: the control lost nothing\n");
  return ok && (!control || sum.lost > 0) ? 0 : 1;
}
