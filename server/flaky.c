// The flaky model: sick workers and builds, trials, decayed rates, states, kinds. Called by the store when a build
// closes and by its queries. Pure: it must not know where evidence is kept, and reads no clock.
#include "server/flaky.h"

#include <assert.h>
#include <math.h>

static const double PRIOR_FLIPS = 0.02, PRIOR_TRIALS = 20.02;
static const double BROKEN_EVIDENCE = 6.9, BROKEN_PASS = 0.98;  // ln 1000: a thousand to one
static const double FLAGGED_WEIGHT = 2, ISOLATED_WEIGHT = 0.5, KIND_SHARE = 0.7;
enum {
  SICK_N = 10,
  SICK_FAILED = 5,
  SICK_TIMES = 4,
  SICK_BUILD_N = 20,
  BROKEN_COMMITS = 2,
  BROKEN_ATTEMPTS = 3,
  CLEAN_MIN = 50,
  CLEAN_MAX = 500,
  CLEAN_QUIET = 100,
  KIND_EVENTS = 3,
};

struct window {  // events that still count
  double weight;
  bool commits;  // of two commits at least
};

static bool has_key(const struct flaky_keys *keys, uint64_t key);
static void drop_key(struct flaky_keys *keys, uint64_t key);
static void decay(struct flaky_memory *memory, uint64_t now_ms);
static void fail_all(struct flaky_memory *memory, const struct flaky_trial *trial);
static bool is_isolated(const struct flaky_memory *memory, const struct flaky_trial *trial);
static void pass_on_trunk(struct flaky_memory *memory, const struct flaky_trial *trial);
static void make_event(const struct flaky_trial *trial, struct flaky_event *event);
static struct window look_back(const struct flaky_memory *memory, const struct flaky_event *events, size_t count,
                               uint64_t now_ms);
static bool is_broken(const struct flaky_memory *memory, double theta);
static bool is_clean(const struct flaky_memory *memory, double theta, uint64_t now_ms);
static bool in_window(const struct flaky_event *event, uint64_t now_ms);
static double alpha(double f);
static double beta(double f, double r);
static double quantile(double p, double a, double b);

bool flaky_worker_sick(const struct flaky_first *worker, const struct flaky_first *build) {
  assert(worker->failed <= worker->n && worker->n <= build->n && worker->failed <= build->failed);
  if (worker->n < SICK_N || worker->failed < SICK_FAILED || worker->failed * 5.0 < worker->n) return false;
  double share = (double)worker->failed / worker->n;
  double rest = (build->failed - worker->failed + 1.0) / (build->n - worker->n + 1.0);
  return share >= SICK_TIMES * rest;
}

bool flaky_build_sick(const struct flaky_first *build, const struct flaky_first *last) {
  assert(build->failed <= build->n && last->failed <= last->n);
  if (build->n < SICK_BUILD_N || build->failed * 5.0 < build->n) return false;
  return last->n > 0 && last->failed * 20.0 < last->n;
}

static uint64_t hash_on(uint64_t hash, const char *name) {
  for (; *name != '\0'; name++)
    hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
  return hash ? hash : 1;
}

uint64_t flaky_name(const char *name) {
  return name[0] == '\0' ? 0 : hash_on(UINT64_C(14695981039346656037), name);
}

uint64_t flaky_worker(const char *host, const char *node, uint32_t number) {
  uint64_t hash = hash_on(hash_on(UINT64_C(14695981039346656037), host), "\n");
  return node[0] == '\0' ? hash_on(hash, "\n") + number : hash_on(hash, node);
}

void flaky_keys_add(struct flaky_keys *keys, uint64_t key) {
  assert(keys->n <= FLAKY_KEYS);
  if (key != 0 && keys->n < FLAKY_KEYS && !has_key(keys, key)) keys->key[keys->n++] = key;
}

static bool has_key(const struct flaky_keys *keys, uint64_t key) {
  for (uint32_t i = 0; i < keys->n; i++)
    if (keys->key[i] == key) return true;
  return false;
}

static void drop_key(struct flaky_keys *keys, uint64_t key) {
  for (uint32_t i = 0; i < keys->n; i++)
    if (keys->key[i] == key) keys->key[i] = keys->key[--keys->n];
}

uint64_t flaky_commit(const char *commit, uint64_t build) {
  uint64_t hash = flaky_name(commit);
  return hash ? hash : build * 2 + 1;
}

bool flaky_flips(const struct flaky_trial *trial) {
  bool good = (trial->now | trial->other) & FLAKY_SAW_PASS, was_good = (trial->before | trial->other) & FLAKY_SAW_PASS;
  bool shown = was_good && (trial->before & FLAKY_SAW_FAILURE);
  if (good && (trial->now & FLAKY_SAW_FAILURE)) return !shown;
  return trial->other == FLAKY_SAW_FAILURE && trial->now == FLAKY_SAW_PASS && trial->before == 0;
}

bool flaky_learn(struct flaky_memory *memory, const struct flaky_trial *trial, struct flaky_event *event) {
  assert((trial->before & ~trial->now) == 0 && trial->now <= FLAKY_SAW_BOTH && trial->other <= FLAKY_SAW_BOTH);
  assert(memory->f >= 0 && memory->r >= 0);
  if (trial->now == 0) return false;
  decay(memory, trial->at_ms);
  if (trial->before == 0 && memory->trials < UINT32_MAX) memory->trials++;
  if (!((trial->now | trial->other) & FLAKY_SAW_PASS)) {
    if (trial->trunk) fail_all(memory, trial);
    return false;
  }
  bool counted = trial->before != 0 && ((trial->before | trial->other) & FLAKY_SAW_PASS);
  bool failed = trial->now & FLAKY_SAW_FAILURE, flips = flaky_flips(trial);
  bool isolated = !flips && !failed && is_isolated(memory, trial);
  memory->r += !counted;
  memory->f += flips || isolated;
  if ((flips && !failed) || isolated) memory->r += 1;  // the trial that failed, of another build
  make_event(trial, event);
  if (isolated) {
    *event = (struct flaky_event){trial->at_ms, memory->first_bad, memory->bad_commit, 0, memory->bad_worker, 1, 0, 0};
    event->flags = FLAKY_ISOLATED | FLAKY_HIT;
    event->weight = ISOLATED_WEIGHT;
  }
  if (flips || isolated || failed)
    memory->clean = 0;
  else if (!counted && memory->clean < UINT32_MAX)
    memory->clean++;
  if (flips || isolated) memory->last_event_ms = event->at_ms;
  if (trial->trunk && (trial->now & FLAKY_SAW_PASS)) pass_on_trunk(memory, trial);
  return flips || isolated;
}

bool flaky_judge(struct flaky_memory *memory, const struct flaky_event *events, size_t count, uint64_t now_ms) {
  enum flaky_state before = memory->state;
  double theta = flaky_theta(memory->f, memory->r);
  struct window window = look_back(memory, events, count, now_ms);
  assert(count <= FLAKY_EVENTS_MAX);
  if (memory->flagged && is_clean(memory, theta, now_ms)) {
    memory->flagged = false;
    memory->f /= 4;
    memory->cleared_ms = memory->last_event_ms;
    window.weight = 0;
  } else if (window.weight >= FLAGGED_WEIGHT - 1e-9 && window.commits) {
    memory->flagged = true;
  }
  if ((before == FLAKY_BROKEN && memory->streak > 0) || is_broken(memory, theta))
    memory->state = FLAKY_BROKEN;
  else if (memory->flagged)
    memory->state = FLAKY_FLAKY;
  else if (window.weight > 0)
    memory->state = FLAKY_SUSPECT;
  else
    memory->state = memory->trials < FLAKY_NEW_TRIALS ? FLAKY_NEW : FLAKY_HEALTHY;
  if (memory->state == before && memory->since_ms != 0) return false;
  memory->since_ms = now_ms;
  return memory->state != before;
}

enum flaky_kind flaky_kind_of(const struct flaky_event *events, size_t count, uint64_t now_ms) {
  size_t n = 0, clustered = 0, on_host = 0, elsewhere = 0, same = 0, order = 0;
  uint64_t host = 0;
  for (size_t i = 0; i < count; i++) {
    const struct flaky_event *event = &events[i];
    if (!in_window(event, now_ms)) continue;
    if (n++ == 0) host = event->host;
    clustered += event->cluster > FLAKY_CLUSTER;
    on_host += host != 0 && event->host == host;
    elsewhere += (event->flags & FLAKY_PASSED_OTHER_HOST) != 0;
    bool again = event->flags & FLAKY_FAILED_SAME, passed = event->flags & FLAKY_PASSED_SAME;
    same += again || passed;
    order += again && !passed && (event->flags & FLAKY_PASSED_ELSEWHERE);
  }
  if (n >= KIND_EVENTS && (double)clustered >= KIND_SHARE * (double)n) return FLAKY_KIND_CLUSTER;
  if (n >= KIND_EVENTS && on_host == n && elsewhere >= KIND_EVENTS) return FLAKY_KIND_HOST;
  if (same < KIND_EVENTS) return FLAKY_KIND_UNKNOWN;
  return (double)order >= KIND_SHARE * (double)same ? FLAKY_KIND_ORDER : FLAKY_KIND_RANDOM;
}

struct flaky_rate flaky_rate(double f, double r) {
  double a = alpha(f), b = beta(f, r);
  return (struct flaky_rate){.theta = a / (a + b), .lo = quantile(0.05, a, b), .hi = quantile(0.95, a, b)};
}

double flaky_theta(double f, double r) {
  return alpha(f) / (alpha(f) + beta(f, r));
}

const char *flaky_state_name(enum flaky_state state) {
  static const char *const names[] = {
      [FLAKY_NEW] = "new",     [FLAKY_HEALTHY] = "healthy", [FLAKY_SUSPECT] = "suspect",
      [FLAKY_FLAKY] = "flaky", [FLAKY_BROKEN] = "broken",
  };
  return (size_t)state < COUNT_OF(names) ? names[state] : "unknown";
}

const char *flaky_kind_name(enum flaky_kind kind) {
  static const char *const names[] = {
      [FLAKY_KIND_UNKNOWN] = "",  [FLAKY_KIND_RANDOM] = "random",   [FLAKY_KIND_ORDER] = "order",
      [FLAKY_KIND_HOST] = "host", [FLAKY_KIND_CLUSTER] = "cluster",
  };
  return (size_t)kind < COUNT_OF(names) ? names[kind] : "";
}

// ---- trials

// Builds may close out of order: time never runs back.
static void decay(struct flaky_memory *memory, uint64_t now_ms) {
  if (memory->at_ms != 0 && now_ms > memory->at_ms) {
    double half = exp2(-(double)(now_ms - memory->at_ms) / (double)FLAKY_WINDOW_MS);
    memory->f *= half;
    memory->r *= half;
  }
  if (now_ms > memory->at_ms) memory->at_ms = now_ms;
}

static void fail_all(struct flaky_memory *memory, const struct flaky_trial *trial) {
  if (memory->streak == 0) memory->first_bad = trial->build;
  if (memory->streak == 0 || memory->bad_commit != trial->commit) memory->streak++;
  memory->bad_commit = trial->commit;
  memory->bad_worker = trial->worker;
  memory->streak_attempts += trial->fails;
  memory->bad_ms = memory->bad_ms > trial->at_ms ? memory->bad_ms : trial->at_ms;
  for (uint32_t i = 0; i < trial->fail_workers.n; i++)
    flaky_keys_add(&memory->streak_workers, trial->fail_workers.key[i]);
  flaky_keys_add(&memory->streak_branches, trial->branch);
}

// Whether a pass on this branch answers the streak's failures, as far as the branches are known.
static bool failed_here(const struct flaky_memory *memory, const struct flaky_trial *trial) {
  const struct flaky_keys *branches = &memory->streak_branches;
  return trial->branch == 0 || branches->n == 0 || has_key(branches, trial->branch);
}

static bool is_isolated(const struct flaky_memory *memory, const struct flaky_trial *trial) {
  return trial->trunk && memory->streak == 1 && memory->streak_attempts == 1 && memory->last_good != 0 &&
         memory->bad_commit != trial->commit && failed_here(memory, trial);
}

// While one branch still fails, another one's pass says nothing of it.
static void pass_on_trunk(struct flaky_memory *memory, const struct flaky_trial *trial) {
  bool one_commit = memory->streak == 1 && memory->bad_commit == trial->commit;
  bool old = trial->at_ms >= memory->bad_ms + FLAKY_WINDOW_MS;
  drop_key(&memory->streak_branches, trial->branch);
  if (memory->streak_branches.n > 0 && trial->branch != 0 && !one_commit && !old) return;
  memory->last_good = trial->build;
  memory->first_bad = memory->bad_commit = memory->bad_ms = 0;
  memory->streak = memory->streak_attempts = 0;
  memory->streak_workers = memory->streak_branches = (struct flaky_keys){0};
}

static void make_event(const struct flaky_trial *trial, struct flaky_event *event) {
  uint32_t k = trial->cluster > 0 ? trial->cluster : 1;
  *event = (struct flaky_event){
      .at_ms = trial->at_ms,
      .build = trial->build,
      .commit = trial->commit,
      .host = trial->host,
      .worker = trial->worker,
      .cluster = k,
      .flags = trial->flags,
      .weight = k > FLAKY_CLUSTER ? (double)FLAKY_CLUSTER / k : 1,
  };
}

// ---- states

static bool in_window(const struct flaky_event *event, uint64_t now_ms) {
  return event->at_ms + FLAKY_WINDOW_MS > now_ms;
}

static struct window look_back(const struct flaky_memory *memory, const struct flaky_event *events, size_t count,
                               uint64_t now_ms) {
  struct window window = {0};
  uint64_t commit = 0;
  for (size_t i = 0; i < count; i++) {
    if (events[i].at_ms <= memory->cleared_ms || !in_window(&events[i], now_ms)) continue;
    if (commit == 0) commit = events[i].commit;
    window.weight += events[i].weight;
    window.commits |= events[i].commit != commit;
  }
  return window;
}

static bool is_broken(const struct flaky_memory *memory, double theta) {
  double fails = memory->streak_attempts, chance = theta < 0.005 ? 0.005 : theta > 0.9 ? 0.9 : theta;
  if (fails * log(BROKEN_PASS / chance) < BROKEN_EVIDENCE) return false;
  return memory->streak >= BROKEN_COMMITS ||
         (memory->streak_attempts >= BROKEN_ATTEMPTS && memory->streak_workers.n >= 2);
}

static bool is_clean(const struct flaky_memory *memory, double theta, uint64_t now_ms) {
  double enough = 5 / theta;
  enough = enough < CLEAN_MIN ? CLEAN_MIN : enough > CLEAN_MAX ? CLEAN_MAX : enough;
  if (memory->clean >= enough) return true;
  return memory->clean >= CLEAN_QUIET && now_ms >= memory->last_event_ms + FLAKY_WINDOW_MS;
}

// ---- the Beta distribution

static double alpha(double f) {
  return f + PRIOR_FLIPS;
}

static double beta(double f, double r) {
  return (r > f ? r - f : 0) + PRIOR_TRIALS - PRIOR_FLIPS;
}

// The continued fraction of the incomplete beta function, evaluated from the front (modified Lentz).
static double fraction(double x, double a, double b) {
  const double tiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1), value;
  d = 1 / (fabs(d) < tiny ? tiny : d);
  value = d;
  for (int m = 1; m <= 500; m++) {
    const double term[2] = {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))};
    double step = 1;
    for (int i = 0; i < 2; i++) {
      d = 1 + term[i] * d;
      d = 1 / (fabs(d) < tiny ? tiny : d);
      c = 1 + term[i] / c;
      if (fabs(c) < tiny) c = tiny;
      step = c * d;
      value *= step;
    }
    if (fabs(step - 1) < 1e-12) break;
  }
  return value;
}

// P(X ≤ x) for X ~ Beta(a, b).
static double below(double x, double a, double b) {
  int sign;
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  double front = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) + a * log(x) + b * log1p(-x));
  return x < (a + 1) / (a + b + 2) ? front * fraction(x, a, b) / a : 1 - front * fraction(1 - x, b, a) / b;
}

static double quantile(double p, double a, double b) {
  double lo = 0, hi = 1;
  for (int i = 0; i < 50; i++) {
    double mid = (lo + hi) / 2;
    if (below(mid, a, b) < p)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}
