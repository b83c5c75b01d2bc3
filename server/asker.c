// The asker: one thread, one job at a time. What goes to and fro is the pointer to the job, under the mutex; what a job
// holds belongs to the thread from asker_begin until asker_take. Called by query_apart.c and server.c. Must not know
// questions or SQL.
#include "server/asker.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "server/limits.h"

struct asker {
  struct store *view;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  struct asker_job *todo, *done;  // under mutex
  bool end;                       // under mutex
  bool busy;                      // loop thread
};

static struct asker_job *asker_next(struct asker *asker) {
  pthread_mutex_lock(&asker->mutex);
  while (!asker->todo && !asker->end)
    (void)pthread_cond_wait(&asker->wake, &asker->mutex);
  struct asker_job *job = asker->todo;
  asker->todo = NULL;
  pthread_mutex_unlock(&asker->mutex);
  return job;
}

static void *asker_main(void *arg) {
  struct asker *asker = arg;
  for (struct asker_job *job; (job = asker_next(asker));) {
    job->work(job, asker->view);
    pthread_mutex_lock(&asker->mutex);
    asker->done = job;
    pthread_mutex_unlock(&asker->mutex);
    store_view_tell(asker->view);
  }
  return NULL;
}

struct asker *asker_new(struct store *store) {
  sigset_t all, before;
  struct asker *asker = base_calloc(1, sizeof *asker);
  asker->view = store_view_new(store);
  if (pthread_mutex_init(&asker->mutex, NULL) != 0 || pthread_cond_init(&asker->wake, NULL) != 0)
    base_die(EXIT_INFRA, "cannot make a lock");
  sigfillset(&all);  // signals are the loop's
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&asker->thread, NULL, asker_main, asker) != 0)
    base_die(EXIT_INFRA, "cannot start the thread that answers questions");
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return asker;
}

struct asker_job *asker_free(struct asker *asker) {
  if (!asker) return NULL;
  asker_stop(asker);
  pthread_mutex_lock(&asker->mutex);
  asker->end = true;
  pthread_cond_signal(&asker->wake);
  pthread_mutex_unlock(&asker->mutex);
  (void)pthread_join(asker->thread, NULL);
  assert(!asker->todo);  // the thread took it, even at the end
  struct asker_job *job = asker->done;
  store_view_free(asker->view);
  pthread_mutex_destroy(&asker->mutex);
  pthread_cond_destroy(&asker->wake);
  free(asker);
  return job;
}

bool asker_busy(const struct asker *asker) {
  return asker->busy;
}

void asker_begin(struct asker *asker, struct asker_job *job) {
  assert(!asker->busy);
  asker->busy = true;
  store_view_allow(asker->view, LIMIT_QUESTION_US);
  pthread_mutex_lock(&asker->mutex);
  assert(!asker->todo && !asker->done);
  asker->todo = job;
  pthread_cond_signal(&asker->wake);
  pthread_mutex_unlock(&asker->mutex);
}

void asker_stop(struct asker *asker) {
  if (asker->busy) store_view_stop(asker->view);
}

struct asker_job *asker_take(struct asker *asker) {
  if (!asker->busy) return NULL;
  pthread_mutex_lock(&asker->mutex);
  struct asker_job *job = asker->done;
  asker->done = NULL;
  pthread_mutex_unlock(&asker->mutex);
  asker->busy = !job;
  return job;
}
