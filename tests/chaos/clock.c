// The clock of clock.h. The linker sends calls of NAME to __wrap_NAME (--wrap), which stand here. The waiting thread
// holds the caller's mutex whenever it looks at the time, and clock_advance changes the time under that mutex: no wake
// is lost.
#include "tests/chaos/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool waiting;             // under lock, like all below
static pthread_cond_t *on_cond;  // of the waiting thread
static pthread_mutex_t *on_mutex;
static uint64_t now_us = 1000000, wall_us = UINT64_C(1700000000000000);

uint64_t __wrap_base_now_us(void);
uint64_t __wrap_base_wall_us(void);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *at);

uint64_t __wrap_base_now_us(void) {
  pthread_mutex_lock(&lock);
  uint64_t us = now_us;
  pthread_mutex_unlock(&lock);
  return us;
}

uint64_t __wrap_base_wall_us(void) {
  pthread_mutex_lock(&lock);
  uint64_t us = wall_us;
  pthread_mutex_unlock(&lock);
  return us;
}

// May return early, as the real one may; every caller looks at the time again.
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *at) {
  (void)at;
  pthread_mutex_lock(&lock);
  on_cond = cond;
  on_mutex = mutex;
  waiting = true;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
  return pthread_cond_wait(cond, mutex);
}

void clock_forget(void) {
  pthread_mutex_lock(&lock);
  waiting = false;
  on_cond = NULL;
  on_mutex = NULL;
  pthread_mutex_unlock(&lock);
}

void clock_settle(void) {
  pthread_mutex_lock(&lock);
  while (!waiting)
    pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
}

void clock_advance(uint64_t us) {
  clock_settle();
  pthread_mutex_lock(&lock);
  pthread_mutex_t *mutex = on_mutex;
  pthread_cond_t *cond = on_cond;
  pthread_mutex_unlock(&lock);
  assert(mutex != NULL && cond != NULL);
  pthread_mutex_lock(mutex);
  pthread_mutex_lock(&lock);
  now_us += us;
  wall_us += us;
  waiting = false;
  pthread_mutex_unlock(&lock);
  pthread_cond_broadcast(cond);
  pthread_mutex_unlock(mutex);
  clock_settle();
}

void clock_advance_wall(uint64_t us) {
  pthread_mutex_lock(&lock);
  wall_us += us;
  pthread_mutex_unlock(&lock);
}

uint64_t clock_wall_ms(void) {
  return __wrap_base_wall_us() / 1000;
}
