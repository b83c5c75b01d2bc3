// make monte-carlo: the flaky model against tests whose true nature is known, in virtual time (tests/unit/flaky_sim.h).
// Prints the table of docs/history.md for 0, 1 and 2 retries and checks its bounds. Deterministic for a seed, which the
// first argument names.
#include <inttypes.h>

#include "tests/unit/flaky_sim.h"

static int failures;

static void bound(const char *what, double got, double lo, double hi) {
  bool ok = got >= lo && got <= hi;
  failures += !ok;
  if (!ok) printf("  OUT OF BOUNDS %s: %g, wanted %g to %g\n", what, got, lo, hi);
}

static double share(uint32_t part, uint32_t all) {
  return all > 0 ? 100.0 * part / all : 0;
}

static void print(struct sim_outcome *out, uint32_t retries) {
  printf("\n%u retries\n%8s %8s %8s %9s %9s %8s %9s\n", retries, "theta", "flaky", "at end", "to flag", "estimate",
         "naive", "to clear");
  for (int c = 0; c < SIM_CLASSES; c++) {
    struct sim_class *class = &out->of[c];
    printf("%8.3f %7.1f%% %7.1f%% %9u %9.4f %7.1f%% %9u\n", sim_theta[c], share(class->flagged, class->tests),
           share(class->at_end, class->tests), sim_median(class->flag_at, class->flagged), class->theta,
           share(class->naive, class->tests), sim_median(class->clear_at, class->cleared));
  }
  printf("sick workers: %u of %u found, %u marked falsely; broken: %u of %u found, median %u builds\n", out->sick_found,
         out->sick, out->sick_false, out->broken_found, out->broken, sim_median(out->broken_after, out->broken_found));
}

// With two retries; the figures of the design's table, with room for another seed.
static void check(struct sim_outcome *out) {
  static const struct {
    double flagged[2], to_flag[2], estimate[2];
  } want[SIM_CLASSES] = {
      {{0, 1}, {0, 560}, {0, 0.002}},          {{15, 50}, {200, 450}, {0.002, 0.004}},
      {{75, 100}, {110, 260}, {0.007, 0.012}}, {{99, 100}, {30, 110}, {0.025, 0.036}},
      {{100, 100}, {12, 35}, {0.085, 0.115}},  {{100, 100}, {3, 12}, {0.25, 0.33}},
  };
  for (int c = 0; c < SIM_CLASSES; c++) {
    struct sim_class *class = &out->of[c];
    char what[64];
    (void)snprintf(what, sizeof what, "theta %.3f", sim_theta[c]);
    bound(what, share(class->flagged, class->tests), want[c].flagged[0], want[c].flagged[1]);
    bound(what, sim_median(class->flag_at, class->flagged), want[c].to_flag[0], want[c].to_flag[1]);
    bound(what, class->theta, want[c].estimate[0], want[c].estimate[1]);
  }
  bound("builds to clear 0.1", sim_median(out->of[4].clear_at, out->of[4].cleared), 50, 90);
  bound("builds to clear 0.3", sim_median(out->of[5].clear_at, out->of[5].cleared), 40, 60);
  bound("sick workers found", share(out->sick_found, out->sick), 90, 100);
  bound("sick workers marked falsely", out->sick_false, 0, 0);
  bound("broken found", share(out->broken_found, out->broken), 98, 100);
  bound("builds to find broken", sim_median(out->broken_after, out->broken_found), 1, 1);
}

int main(int argc, char **argv) {
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  printf("28 days of 20 builds on 8 workers, 1500 sound tests and 72 for each chance; seed %" PRIu64 "\n", seed);
  for (uint32_t retries = 0; retries <= 2; retries++) {
    struct sim_options options = {seed, 1500, 72, 28, 20, retries};
    struct sim_outcome out;
    sim_all(&options, &out);
    print(&out, retries);
    // Whatever the retries: what pull requests broke is never taken for the tests' own failing.
    bound("sound tests called flaky", share(out.of[0].flagged, out.of[0].tests), 0, 0.5);
    if (retries == 2) check(&out);
    sim_release(&out);
  }
  printf("\nmonte-carlo: %s\n", failures ? "OUT OF BOUNDS" : "within bounds");
  return failures ? EXIT_TESTS_FAILED : EXIT_OK;
}
