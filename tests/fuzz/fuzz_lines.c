// What a test process says: bytes through the adapter's real socket, JSON lines, into the pytest runner. It keeps its
// books whatever comes: results only of tests that were given, each once.
#include <event2/event.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "worker/pytest_impl.h"

enum { TESTS = 4, BYTES_MAX = 60000 };  // what a socket takes at once

static const char *const ids[TESTS] = {"a.py::t", "b", "c::d", "e"};
static struct event_base *base;
static struct adapter *adapter;
static struct runner runner;
static bool reported[TESTS];
static bool asked_back;

static void on_listed(void *arg, struct testlist *list) {
  (void)arg;
  FUZZ_CHECK(testlist_count(list) > 0);
  testlist_free(list);
}

static bool on_opened(void *arg, const char *file, const struct testlist *found, const char *text) {
  (void)arg, (void)file, (void)found;
  FUZZ_CHECK(text != NULL);
  return true;
}

static void on_started(void *arg, uint32_t tag) {
  (void)arg;
  FUZZ_CHECK(tag < TESTS && !reported[tag]);
}

static void on_result(void *arg, const struct runner_result *result) {
  (void)arg;
  FUZZ_CHECK(result->tag < TESTS && !reported[result->tag]);
  FUZZ_CHECK(result->status >= RUNNER_PASSED && result->status <= RUNNER_XPASSED);
  reported[result->tag] = true;
}

static void on_need(void *arg) {
  (void)arg;
  asked_back = true;
}

static void on_end(void *arg, const struct runner_end *end) {
  (void)arg, (void)end;
}

static void on_line(void *arg, json_t *line) {
  (void)arg;
  pytest_line(&runner, line);
}

static void on_broken(void *arg, const char *why) {
  (void)arg;
  pytest_break(&runner, "%s", why);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what, (void)arg;
}

static void begin(const struct runner_spec *spec) {
  runner = (struct runner){.spec = spec, .adapter = adapter, .list = testlist_new(), .end = TESTS, .room = TESTS};
  runner.cap = event_new(base, -1, 0, on_timer, NULL);
  runner.start_timer = event_new(base, -1, 0, on_timer, NULL);
  runner.duplicates = strdup("told before");  // else it tells people of each
  runner.given = calloc(TESTS, sizeof *runner.given);
  FUZZ_CHECK(runner.given != NULL);
  memset(reported, 0, sizeof reported);
  for (uint32_t i = 0; i < TESTS; i++)
    runner.given[i].test = (struct runner_test){.id = ids[i], .tag = i, .cap_us = UINT64_C(1) << 40};
}

static void end(void) {
  pytest_lazy_reset(&runner);
  size_t left = 0;
  for (size_t i = 0; i < TESTS; i++)
    left += !reported[i];
  FUZZ_CHECK(runner.end - runner.begin == left && runner.late_count <= PYTEST_LATE_MAX);
  for (const char *at = runner.broken; at != NULL && *at != '\0'; at++)  // it goes to a terminal
    FUZZ_CHECK((unsigned char)*at >= ' ' ? *at != 0x7f : *at == '\n' || *at == '\t');
  event_free(runner.cap);
  event_free(runner.start_timer);
  testlist_free(runner.list);
  for (size_t i = 0; i < runner.late_count; i++)
    free(runner.late[i]);
  free(runner.broken);
  free(runner.duplicates);
  free(runner.given);
}

static void say(const uint8_t *bytes, size_t n) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", adapter_socket(adapter));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  FUZZ_CHECK(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);  // accepted
  FUZZ_CHECK(n == 0 || write(fd, bytes, n) == (ssize_t)n);
  FUZZ_CHECK(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
  adapter_finish(adapter);
  close(fd);
}

static void forget_adapter(void) {
  adapter_free(adapter);
  event_base_free(base);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static const struct runner_spec spec = {
      .events = {.on_listed = on_listed,
                 .on_opened = on_opened,
                 .on_started = on_started,
                 .on_result = on_result,
                 .on_need = on_need,
                 .on_end = on_end},
  };
  static const struct adapter_events events = {on_line, on_broken, NULL};
  char why[200];
  if (adapter == NULL) {
    base = event_base_new();
    adapter = adapter_new(base, NULL, 0, &events, why, sizeof why);
    FUZZ_CHECK(adapter != NULL && atexit(forget_adapter) == 0);
  }
  if (n > BYTES_MAX) return 0;
  begin(&spec);
  say(bytes, n);
  end();
  return 0;
}
