// A thread that works on one job at a time with a view of the store, so that no question, however much it reads or
// computes, takes a turn of the loop for itself. All functions are the loop thread's. It does not know what a job is.
#ifndef SERVER_ASKER_H
#define SERVER_ASKER_H

#include "server/store.h"

struct asker;

// The first member of what the caller keeps of a job. `work` runs on the asker's thread: what it touches is its own, or
// stays as it is until the job has come back.
struct asker_job {
  void (*work)(struct asker_job *job, struct store *view);
};

// Starts the thread; the store outlives it.
struct asker *asker_new(struct store *store);
// Breaks off what the thread works on, waits for it, and ends it. Returns the job that was not taken back; NULL: there
// is none.
struct asker_job *asker_free(struct asker *asker);

bool asker_busy(const struct asker *asker);  // with a job that was not taken back
// Begins a job; the asker is not busy. The job reads for at most LIMIT_QUESTION_US.
void asker_begin(struct asker *asker, struct asker_job *job);
// Breaks off the job in hand: it comes back soon, with what it has. No effect when it has come back already.
void asker_stop(struct asker *asker);
// The job that has ended, once; NULL: none has. The store's eventfd tells of it.
struct asker_job *asker_take(struct asker *asker);

#endif
