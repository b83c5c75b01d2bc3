// The only place that forks: starts a child in its own process group, watches it by pidfd (EOF on a pipe proves
// nothing: a daemon forked by a test keeps the descriptor open), signals the whole group, reads its pipes by lines or
// bytes.
#ifndef WORKER_PROC_H
#define WORKER_PROC_H

#include <event2/event.h>
#include <sys/types.h>

#include "config/base.h"

struct proc;

enum proc_stream { PROC_INHERIT, PROC_PIPE, PROC_NULL };

struct proc_spec {
  char *const *argv;
  char *const *env;               // NULL-terminated "K=V" to set; "K" alone unsets; NULL: none
  const char *dir;                // NULL: the same
  enum proc_stream in, out, err;  // in: PROC_INHERIT or PROC_NULL
  bool die_with_parent;           // SIGKILL when this process ends, however it ends (prctl PDEATHSIG)
  struct event_base *base;
  // Bytes read from a piped stream (which: 1 stdout, 2 stderr).
  void (*on_output)(void *arg, int which, const char *bytes, size_t n);
  // The child is gone and was reaped; status as from waitpid. Comes once, after the output that was in the pipes.
  void (*on_exit)(void *arg, int status);
  void *arg;
};

// Starts; NULL and a message in why when it cannot (no such program: named).
struct proc *proc_spawn(const struct proc_spec *spec, char *why, size_t why_size);
pid_t proc_pid(const struct proc *proc);
bool proc_running(const struct proc *proc);
void proc_signal(struct proc *proc, int signo);        // the whole group; nothing when it is gone
void proc_stop(struct proc *proc, uint64_t grace_us);  // SIGTERM, then SIGKILL after grace_us
void proc_free(struct proc *proc);                     // kills and reaps what still runs; on_exit does not come
// "exit status 3", "killed by SIGSEGV (core dumped)", into out; returns out.
const char *proc_describe(int status, char *out, size_t out_size);

#endif
