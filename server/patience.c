// A thread that says every few seconds that the start goes on. The work itself cannot: SQLite reads a whole table in
// one call. It says so for a day at most: what takes longer hangs.
#include "server/patience.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "config/base.h"

enum { PATIENCE_DAY_S = 24 * 3600 };

struct patience {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  uint64_t every_us, more_us, began_us;
  bool over;
};

static void patience_say(const struct patience *patience, unsigned times) {
  uint64_t seconds = (base_now_us() - patience->began_us) / 1000000;
  sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%llu\nSTATUS=opening the database, %llu s so far",
             (unsigned long long)patience->more_us, (unsigned long long)seconds);
  if (times) base_log(LOG_LEVEL_INFO, "starting", "seconds=%llu", (unsigned long long)seconds);
}

static struct timespec patience_next(const struct patience *patience) {
  uint64_t at_us = base_now_us() + patience->every_us;
  return (struct timespec){.tv_sec = (time_t)(at_us / 1000000), .tv_nsec = (long)(at_us % 1000000) * 1000};
}

static void *patience_main(void *arg) {
  struct patience *patience = arg;
  pthread_mutex_lock(&patience->mutex);
  for (unsigned times = 0; !patience->over; times++) {
    if (base_now_us() - patience->began_us < (uint64_t)PATIENCE_DAY_S * 1000000) patience_say(patience, times);
    struct timespec until = patience_next(patience);
    while (!patience->over && pthread_cond_timedwait(&patience->wake, &patience->mutex, &until) == 0)
      ;
  }
  pthread_mutex_unlock(&patience->mutex);
  return NULL;
}

struct patience *patience_begin(uint64_t every_us, uint64_t more_us) {
  struct patience *patience = base_calloc(1, sizeof *patience);
  pthread_condattr_t attr;
  sigset_t all, before;
  *patience = (struct patience){.every_us = every_us, .more_us = more_us, .began_us = base_now_us()};
  if (pthread_condattr_init(&attr) != 0 || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
      pthread_cond_init(&patience->wake, &attr) != 0 || pthread_mutex_init(&patience->mutex, NULL) != 0)
    base_die(EXIT_INFRA, "cannot make a lock");
  pthread_condattr_destroy(&attr);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&patience->thread, NULL, patience_main, patience);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc != 0) base_die(EXIT_INFRA, "cannot start a thread");
  return patience;
}

void patience_end(struct patience *patience) {
  if (!patience) return;
  pthread_mutex_lock(&patience->mutex);
  patience->over = true;
  pthread_cond_signal(&patience->wake);
  pthread_mutex_unlock(&patience->mutex);
  (void)pthread_join(patience->thread, NULL);
  sd_notify(0, "STATUS=");
  pthread_cond_destroy(&patience->wake);
  pthread_mutex_destroy(&patience->mutex);
  free(patience);
}
