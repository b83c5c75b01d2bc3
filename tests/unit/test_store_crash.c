// Unit tests of the store's promises: what was durable survives SIGKILL, and a full disk loses nothing and heals. The
// full disk is a real one: a small tmpfs in a mount namespace of this program.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

enum { TEXT_BYTES = 64 * 1024, DISK_MIB = 12 };

// ---- SIGKILL

struct counting {
  uint64_t results, sum;
};

static void on_build(void *arg, const struct store_build *build, uint32_t state, uint32_t round) {
  (void)arg, (void)build, (void)state, (void)round;
}

static void on_worker(void *arg, const struct store_worker *worker, uint64_t acked, bool left, const char *late) {
  (void)arg, (void)worker, (void)acked, (void)left, (void)late;
}

static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  (void)arg, (void)list, (void)listed;
}

static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  (void)arg, (void)round, (void)tests, (void)count;
}

static void on_result(void *arg, const struct store_result *result) {
  struct counting *counting = arg;
  counting->results++;
  counting->sum += result->test;
}

// Results come one after the other; the pipe tells which of them were durable.
static _Noreturn void write_until_killed(int out) {
  struct store *store = fx_open();
  fx_build(store, store_next_build(store), "a", "");
  struct store_listed *listed = fx_list(store, 1, 20000, 100);
  for (uint32_t i = 0; i < 20000;) {
    uint64_t ticket = 0;
    for (uint32_t burst = 0; burst < 1 + i % 37 && i < 20000; burst++, i++)
      ticket = fx_put(store, 1, listed->test[i], FX_PASSED, 1, true);
    fx_wait(store, ticket);
    if (write(out, &i, sizeof i) != sizeof i) break;
  }
  _exit(3);  // the parent kills long before
}

static void test_kill_loses_nothing_durable(void **state) {
  (void)state;
  for (unsigned kill_after = 1; kill_after < 90; kill_after += 22) {
    int pipes[2];
    uint32_t durable = 0;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fx_fork();
    if (child == 0) write_until_killed(pipes[1]);
    close(pipes[1]);
    for (unsigned i = 0; i < kill_after; i++)
      assert_int_equal(read(pipes[0], &durable, sizeof durable), sizeof durable);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    for (uint32_t more; read(pipes[0], &more, sizeof more) == sizeof more;)
      durable = more;  // told before it died
    close(pipes[0]);
    struct counting counting = {0};
    const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, &counting};
    struct store *store = fx_open();
    assert_int_equal(store_replay_build(store, 1, &replay), 0);
    assert_true(counting.results >= durable);
    assert_int_equal(counting.sum, counting.results * (counting.results + 1) / 2);  // in order, without a gap
    store_close(store);
    assert_int_equal(fx_teardown(NULL), 0);
    assert_int_equal(fx_setup(NULL), 0);
  }
}

// ---- the full disk

static bool have_mounts;

static void write_map(const char *path, unsigned from) {
  FILE *file = fopen(path, "w");
  if (file == NULL) return;
  if (fprintf(file, "0 %u 1\n", from) < 0) perror(path);
  if (fclose(file) != 0) perror(path);
}

// Mounts of our own: as root, or as root of a user namespace.
static bool own_mounts(void) {
  unsigned uid = getuid(), gid = getgid();
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    int fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "deny", 4) != 4) perror("setgroups");
    if (fd >= 0) close(fd);
    write_map("/proc/self/uid_map", uid);
    write_map("/proc/self/gid_map", gid);
  }
  return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int disk_setup(void **state) {
  char options[32];
  if (fx_setup(state) != 0) return -1;
  (void)snprintf(options, sizeof options, "size=%dm", DISK_MIB);
  if (have_mounts && mount("none", fx_dir, "tmpfs", 0, options) != 0) have_mounts = false;
  return 0;
}

static int disk_teardown(void **state) {
  if (have_mounts) (void)umount2(fx_dir, MNT_DETACH);
  return fx_teardown(state);
}

static void need_disk(void) {
  if (have_mounts) return;
  print_error("\n*** NOT TESTED: a full disk. This needs root, or user namespaces (unshare -rm). ***\n\n");
  skip();
}

static char *filler(void) {
  static char path[sizeof fx_dir + 16];
  (void)snprintf(path, sizeof path, "%s/filler", fx_dir);
  return path;
}

static void fill_disk(void) {
  char block[4096];
  memset(block, 1, sizeof block);
  int fd = open(filler(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  while (write(fd, block, sizeof block) > 0)
    continue;
  assert_int_equal(errno, ENOSPC);
  close(fd);
}

// A failing test with 64 KiB of output.
static uint64_t put_big(struct store *store, uint64_t build, uint32_t test) {
  static char text[TEXT_BYTES];
  memset(text, 'x', sizeof text);
  struct store_result result = fx_result(build, test, FX_FAILED);
  result.text = text;
  result.text_bytes = sizeof text;
  return store_put_result(store, &result);
}

static void test_full_disk_keeps_what_came(void **state) {
  (void)state;
  need_disk();
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 100, 10));
  fill_disk();
  uint64_t before = store_durable(store);
  for (uint32_t i = 1; i <= 20; i++)
    put_big(store, 1, i);
  while (!store_full(store))
    fx_wake(store);
  uint64_t ticket = fx_put(store, 1, 50, FX_PASSED, 1, true);  // comes while it is full
  assert_true(store_durable(store) < ticket);
  assert_true(store_pending(store) >= 1);
  assert_int_equal(store_find(store, "shop", "unit", "a"), 1);  // reading still works
  assert_int_equal(unlink(filler()), 0);
  fx_wait(store, ticket);
  assert_false(store_full(store));
  assert_true(store_durable(store) > before);
  assert_int_equal(store_pending(store), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM result"), 21);
  assert_int_equal(fx_number("SELECT sum(length(text)) FROM output"), 20 * TEXT_BYTES);
  assert_int_equal(fx_number("SELECT failed FROM build"), 20);  // counted once, however often it was tried
  store_close(store);
}

static void test_full_disk_at_the_end(void **state) {
  (void)state;
  need_disk();
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 100, 10));
  fx_wait(store, fx_put(store, 1, 1, FX_PASSED, 1, true));
  fill_disk();
  uint64_t ticket[40] = {0};
  for (uint32_t i = 2; i <= 40; i++)
    ticket[i - 1] = put_big(store, 1, i);
  while (!store_full(store))
    fx_wake(store);
  int promised = 1;  // and those that found room in the log that was there
  for (uint32_t i = 1; i < 40; i++)
    promised += ticket[i] <= store_durable(store);
  assert_true(promised < 40);
  store_close(store);  // gives up what nobody was promised
  assert_int_equal(unlink(filler()), 0);
  store = fx_open();
  assert_int_equal(fx_number("SELECT count(*) FROM result"), promised);
  store_close(store);
}

static void test_ballast_is_given_up(void **state) {
  struct stat st;
  char ballast[sizeof fx_path + 16];
  (void)state;
  need_disk();
  fx_options.ballast_bytes = 3 << 20;
  (void)snprintf(ballast, sizeof ballast, "%s.ballast", fx_path);
  struct store *store = fx_open();
  assert_int_equal(stat(ballast, &st), 0);
  assert_int_equal(st.st_size, 3 << 20);
  assert_int_equal(st.st_blocks * 512, 3 << 20);
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 100, 10));
  fill_disk();
  uint64_t ticket = 0;
  for (uint32_t i = 1; i <= 10; i++)
    ticket = put_big(store, 1, i);
  fx_wait(store, ticket);  // without any help
  assert_int_equal(stat(ballast, &st), -1);
  store_close(store);
  store_close(fx_open());  // still too little room for a new one
  assert_int_equal(stat(ballast, &st), -1);
  assert_int_equal(unlink(filler()), 0);
  store_close(fx_open());
  assert_int_equal(stat(ballast, &st), 0);
}

// Old results make room for new ones. What comes is more than the ballast, and the old build is old enough only when
// the disk has been full for a while: no idle look finds it before.
static void test_retention_frees_a_full_disk(void **state) {
  (void)state;
  need_disk();
  fx_options.ballast_bytes = 1 << 20;
  struct store *store = fx_open();
  fx_build(store, 1, "old", "");
  store_listed_free(fx_list(store, 1, 100, 10));
  for (uint32_t i = 1; i <= 48; i++)
    fx_wait(store, put_big(store, 1, i));
  fx_build(store, 2, "new", "");
  store_listed_free(fx_list(store, 2, 100, 10));
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, base_wall_us() / 1000, NULL));
  fx_learned(store);
  store_close(store);
  fx_options.keep_results_us = 3000000;
  store = fx_open();
  fill_disk();
  for (uint32_t i = 1; i <= 40; i++)
    fx_wait(store, put_big(store, 2, i));
  assert_int_equal(fx_number("SELECT count(*) FROM output WHERE build=2"), 40);
  assert_int_equal(fx_number("SELECT count(*) FROM output WHERE build=1"), 0);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_kill_loses_nothing_durable, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_full_disk_keeps_what_came, disk_setup, disk_teardown),
      cmocka_unit_test_setup_teardown(test_full_disk_at_the_end, disk_setup, disk_teardown),
      cmocka_unit_test_setup_teardown(test_ballast_is_given_up, disk_setup, disk_teardown),
      cmocka_unit_test_setup_teardown(test_retention_frees_a_full_disk, disk_setup, disk_teardown),
  };
  have_mounts = own_mounts();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
