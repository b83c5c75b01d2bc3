// The loop: one turn after another, and what happens between them. Called by main.c. A turn: libevent's callbacks bring
// messages and signals; then, in this order, what the store has on disk is released, those who wait are answered, what
// was queued is written and dead connections are reaped, and one timer is armed for the next deadline of all.
//
// Time: the core is told monotonic time without the gaps of a stalled loop, so that a daemon that was stopped for a
// minute does not take its workers for dead.
#include "server/server.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "server/asker.h"
#include "server/deliver.h"
#include "server/dispatch.h"
#include "server/limits.h"
#include "server/listing.h"
#include "server/patience.h"
#include "server/query.h"
#include "server/recover.h"

enum {
  SERVER_TICK_US = 1000000,       // the timer is never armed for later than this
  SERVER_SILENCE_TTLS = 4,        // a worker silent for so many lease times loses its connection
  SERVER_STOP_WAIT_US = 5000000,  // to write what is pending at the end
  SERVER_PATIENCE_US = 10000000,  // a start that takes long says so as often
  SERVER_MORE_US = 120000000,     // and asks for so much more
};

uint64_t server_wall_ms(void) {
  return base_wall_us() / 1000;
}

uint64_t server_silence_us(const struct server *server) {
  return SERVER_SILENCE_TTLS * server->settings.lease_ttl_us;
}

// ---- time

// A turn and the wait behind it may take so much longer than planned; more is a stall. What was planned is time, in
// which a silent worker's lease ages: so the loop never sleeps for longer than this either.
static uint64_t server_slack_us(const struct server *server) {
  return server->settings.lease_ttl_us / 4;
}

// What went by beyond the plan is a gap: the loop did not run, its workers were not heard.
void server_begin_turn(struct server *server) {
  if (server->in_turn) return;
  server->in_turn = true;
  uint64_t mono = base_now_us();
  uint64_t late = server->wake_us && mono > server->wake_us ? mono - server->wake_us : 0;
  if (late > server_slack_us(server)) {
    server->gaps_us += late;
    base_log(LOG_LEVEL_WARN, "stalled", "seconds=%.3f", (double)late / 1e6);
  }
  server->now_us = mono - server->gaps_us;
}

// Counted from the turn's beginning, so that a stop in the middle of a turn is seen, too.
uint64_t server_plan_wait(struct server *server, uint64_t next_us) {
  uint64_t wait_us = next_us > server->now_us ? next_us - server->now_us : 0;
  if (wait_us > SERVER_TICK_US) wait_us = SERVER_TICK_US;
  if (wait_us > server_slack_us(server)) wait_us = server_slack_us(server);
  server->wake_us = server->now_us + server->gaps_us + wait_us;
  server->in_turn = false;
  return wait_us;
}

static uint64_t server_tick_builds(struct server *server) {
  uint64_t next = UINT64_MAX;
  for (struct build *build = server->builds; build; build = build->next) {
    if (queue_deadline(build->queue) <= server->now_us) {
      queue_tick(build->queue, server->now_us, &server->effects);
      deliver_effects(server, build);
    }
    uint64_t due = queue_deadline(build->queue);
    if (due < next) next = due;
  }
  return next;
}

static uint64_t server_earliest(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static void server_arm(struct server *server, uint64_t next) {
  uint64_t wait = server_plan_wait(server, next);
  struct timeval after = {.tv_sec = (time_t)(wait / 1000000), .tv_usec = (suseconds_t)(wait % 1000000)};
  event_add(server->timer, &after);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
  (void)fd;
  (void)what;
  (void)arg;  // the end of the turn does what is due
}

static void on_store(evutil_socket_t fd, short what, void *arg) {
  (void)fd;
  (void)what;
  struct server *server = arg;
  struct store_listed *listed;
  server_begin_turn(server);
  while ((listed = store_poll(server->store))) {
    listing_stored(server, listed);
    store_listed_free(listed);
  }
}

static void server_end_turn(struct server *server) {
  deliver_durable(server);
  uint64_t next = server_tick_builds(server);
  query_waiters(server);
  next = server_earliest(next, build_evict(server, server->now_us));
  if (query_next(server)) next = server->now_us;
  if (query_simulations(server)) next = server->now_us;
  uint64_t mono = base_now_us();
  uint64_t conns = conns_tick(server->conns, mono, server_silence_us(server));
  if (conns != UINT64_MAX) next = server_earliest(next, conns - server->gaps_us);
  conns_end_turn(server->conns);
  server_arm(server, next);
}

// ---- signals

static void on_stop(evutil_socket_t signo, short what, void *arg) {
  (void)what;
  struct server *server = arg;
  if (!server->stopping) {
    base_log(LOG_LEVEL_INFO, "stopping", "signal=%s connections=%u", signo == SIGINT ? "INT" : "TERM",
             conns_count(server->conns));
  }
  server->stopping = true;
  sd_notify(0, "STOPPING=1");
}

static void server_reload_builds(struct server *server) {
  for (struct build *build = server->builds; build; build = build->next) {
    queue_set_times(build->queue, server->settings.lease_ttl_us, server->settings.idle_timeout_us);
  }
}

static void on_reload(evutil_socket_t signo, short what, void *arg) {
  (void)signo;
  (void)what;
  struct server *server = arg;
  struct settings fresh;
  struct conf_error error;
  struct auth_error auth_error;
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)base_now_us());
  struct auth *auth = NULL;
  if (settings_reload(&server->settings, &fresh, &error) < 0) {
    base_log(LOG_LEVEL_ERROR, "reload", "result=kept error=\"%s\"", error.text);
  } else if (!(auth = auth_load(fresh.token_file, &auth_error))) {
    base_log(LOG_LEVEL_ERROR, "reload", "result=kept error=\"%s\"", auth_error.text);
    settings_release(&fresh);
  } else {
    settings_release(&server->settings);
    server->settings = fresh;
    auth_free(server->auth);
    server->auth = auth;
    base_log_init("shardd", settings_log_level(&server->settings));
    server_reload_builds(server);
    base_log(LOG_LEVEL_INFO, "reload", "result=ok needs_restart=\"%s\"", server->settings.needs_restart);
  }
  sd_notify(0, "READY=1");
}

static void server_signal(struct server *server, struct event **event, int signo, event_callback_fn callback) {
  *event = evsignal_new(server->base, signo, callback, server);
  if (!*event || event_add(*event, NULL) != 0) base_die(EXIT_INFRA, "cannot watch signal %d", signo);
}

// ---- opening

static void on_accept(int fd, const char *peer, int64_t uid, void *arg) {
  struct server *server = arg;
  conn_open(server->conns, fd, peer, uid);
}

// The exit code of what went wrong, or EXIT_OK.
static int server_listen(struct server *server) {
  struct net_error error;
  struct net_handler handler = {.on_accept = on_accept, .arg = server};
  const struct conf_list *listen = &server->settings.listen;
  if (net_activated(server->base, &handler, server->listener, SERVER_LISTENERS_MAX, &server->listener_count, &error) <
      0) {
    fprintf(stderr, "shardd: %s\n", error.text);
    return EXIT_INFRA;
  }
  for (size_t i = 0; server->listener_count == i && i < listen->count && i < SERVER_LISTENERS_MAX; i++) {
    mode_t mode = settings_socket_mode(&server->settings);
    server->listener[i] = net_listen(server->base, listen->item[i], mode, &handler, &error);
    if (!server->listener[i]) {
      fprintf(stderr, "shardd: %s\n", error.text);
      return EXIT_INFRA;
    }
    server->listener_count++;
  }
  for (size_t i = 0; i < server->listener_count; i++) {
    if (net_exposed(server->listener[i]) && !server->settings.token_file[0]) {
      fprintf(stderr, "shardd: %s can be reached from other machines: set token-file\n",
              net_address(server->listener[i]));
      return EXIT_USAGE;
    }
    base_log(LOG_LEVEL_INFO, "listening", "address=%s", net_address(server->listener[i]));
  }
  return EXIT_OK;
}

static int server_open_store(struct server *server) {
  struct store_error error;
  struct store_options options = {.path = server->settings.database,
                                  .ballast_bytes = server->settings.ballast_bytes,
                                  .quarantine = (enum store_quarantine)server->settings.quarantine,
                                  .keep_results_us = server->settings.keep_results_us};
  server->store = store_open(&options, &error);
  if (!server->store) {
    fprintf(stderr, "shardd: %s\n", error.text);
    return -1;
  }
  server->asker = asker_new(server->store);
  server->next_build = store_next_build(server->store);
  server->store_ready = event_new(server->base, store_eventfd(server->store), EV_READ | EV_PERSIST, on_store, server);
  return server->store_ready && event_add(server->store_ready, NULL) == 0 ? 0 : -1;
}

// The one who started us is gone, or goes: then so do we.
static int server_watch_parent(const struct server *server) {
  if (!server->settings.exit_with_parent) return 0;
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() == 1) return -1;
  return 0;
}

// EXIT_OK, or the exit code.
static int server_open(struct server *server) {
  struct auth_error auth_error;
  struct event_config *config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
  server->base = event_base_new_with_config(config);
  event_config_free(config);
  if (!server->base) base_die(EXIT_INFRA, "libevent does not start");
  signal(SIGPIPE, SIG_IGN);
  server_signal(server, &server->on_term, SIGTERM, on_stop);
  server_signal(server, &server->on_int, SIGINT, on_stop);
  server_signal(server, &server->on_hup, SIGHUP, on_reload);
  server->timer = event_new(server->base, -1, 0, on_timer, server);
  if (getrandom(&server->hash_seed, sizeof server->hash_seed, 0) < 0) base_die(EXIT_INFRA, "getrandom failed");
  server->auth = auth_load(server->settings.token_file, &auth_error);
  if (!server->auth) {
    fprintf(stderr, "shardd: %s\n", auth_error.text);
    return EXIT_USAGE;
  }
  if (server_watch_parent(server) < 0 || server_open_store(server) < 0) return EXIT_INFRA;
  struct conn_handler handler = dispatch_handler;
  handler.arg = server;
  server->budget =
      (struct budget){.list_bytes = server->settings.list_memory_bytes, .buffer_bytes = LIMIT_BUFFER_BYTES};
  server->conns = conns_new(server->base, (uint32_t)server->settings.max_connections, server->settings.hello_timeout_us,
                            &server->budget, &handler);
  server->now_us = base_now_us();
  return recover_all(server) < 0 ? EXIT_INFRA : server_listen(server);
}

// ---- closing

static void server_close_listeners(struct server *server) {
  for (size_t i = 0; i < server->listener_count; i++)
    net_close(server->listener[i]);
  server->listener_count = 0;
}

static void server_free_event(struct event *event) {
  if (event) event_free(event);
}

static void server_close(struct server *server) {
  server_close_listeners(server);
  conns_free(server->conns);
  query_release(server);
  while (server->builds)
    build_free(server, server->builds);
  assert(budget_used(&server->budget) == 0);
  store_close(server->store);
  auth_free(server->auth);
  effects_release(&server->effects);
  free(server->pending);
  server_free_event(server->timer);
  server_free_event(server->store_ready);
  server_free_event(server->on_term);
  server_free_event(server->on_int);
  server_free_event(server->on_hup);
  event_base_free(server->base);
}

// ---- running

static void server_turn(struct server *server) {
  event_base_loop(server->base, EVLOOP_ONCE);
  server_begin_turn(server);
  server_end_turn(server);
}

static bool server_has_pending(const struct server *server) {
  return server->pending_begin < server->pending_end;
}

static void server_watchdog(uint64_t every_us, uint64_t *last_us) {
  uint64_t now = base_now_us();
  if (!every_us || now - *last_us < every_us / 3) return;
  *last_us = now;
  sd_notify(0, "WATCHDOG=1");
}

int server_run(struct server *server) {
  uint64_t watchdog_us = 0, watchdog_last = 0;
  struct patience *patience = patience_begin(SERVER_PATIENCE_US, SERVER_MORE_US);
  int code = server_open(server);
  patience_end(patience);
  if (code == EXIT_OK) {
    sd_watchdog_enabled(0, &watchdog_us);
    sd_notify(0, "READY=1");
    server_end_turn(server);
    while (!server->stopping) {
      server_turn(server);
      server_watchdog(watchdog_us, &watchdog_last);
    }
    server_close_listeners(server);
    uint64_t until = base_now_us() + SERVER_STOP_WAIT_US;
    while (server_has_pending(server) && base_now_us() < until)
      server_turn(server);
  }
  server_close(server);
  return code;
}
