// The private shardd of a simulation. Called by plan.c, which waits for answers itself and lets this look around in
// between. It must not know what the server is asked.
#include "worker/plan_place.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "worker/local_server.h"

enum { PLAN_SIGNALS = 3, PLAN_STOP_GRACE_US = 5 * 1000 * 1000 };

struct plan_place {
  struct local_place place;
  struct event_base *base;
  struct event *on_signal[PLAN_SIGNALS];
  struct proc *server;
  int signal, status;  // signal: the first that came; 0: none
  bool ended;
};

static void on_signal(evutil_socket_t signo, short what, void *arg) {
  (void)what;
  struct plan_place *place = arg;
  if (place->signal == 0) place->signal = (int)signo;
}

static void on_exit_of_server(void *arg, int status) {
  struct plan_place *place = arg;
  place->ended = true;
  place->status = status;
  (void)event_base_loopbreak(place->base);
}

static void plan_place_watch(struct plan_place *place) {
  static const int signals[PLAN_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
  place->base = event_base_new();
  if (place->base == NULL) base_die(EXIT_INFRA, "libevent cannot start");
  for (size_t i = 0; i < PLAN_SIGNALS; i++) {
    place->on_signal[i] = evsignal_new(place->base, signals[i], on_signal, place);
    if (place->on_signal[i] == NULL || event_add(place->on_signal[i], NULL) != 0)
      base_die(EXIT_INFRA, "libevent cannot watch signals");
  }
}

// Signals are watched before there is anything to leave behind.
struct plan_place *plan_place_open(char *why, size_t why_size) {
  struct plan_place *place = base_calloc(1, sizeof *place);
  plan_place_watch(place);
  if (local_place_open_temporary(&place->place, why, why_size) == 0)
    place->server = local_server_start(&place->place, place->base, on_exit_of_server, place, why, why_size);
  if (place->server != NULL) return place;
  plan_place_close(place);
  return NULL;
}

const char *plan_place_address(const struct plan_place *place) {
  return place->place.address;
}

int plan_place_look(struct plan_place *place) {
  char how[64];
  (void)event_base_loop(place->base, EVLOOP_NONBLOCK);
  if (place->signal != 0) return 128 + place->signal;
  if (!place->ended) return EXIT_OK;
  fprintf(stderr, "shard plan: the private shardd ended: %s\n", proc_describe(place->status, how, sizeof how));
  return EXIT_INFRA;
}

void plan_place_close(struct plan_place *place) {
  if (place == NULL) return;
  if (place->server != NULL && !place->ended) {
    proc_stop(place->server, PLAN_STOP_GRACE_US);
    while (!place->ended)
      (void)event_base_loop(place->base, EVLOOP_ONCE);
  }
  proc_free(place->server);
  for (size_t i = 0; i < PLAN_SIGNALS; i++)
    event_free(place->on_signal[i]);
  event_base_free(place->base);
  local_place_close(&place->place);
  free(place);
}
