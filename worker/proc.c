// Child processes: the only file that forks. A child leads its own process group, is watched by a pidfd in the loop,
// and its pipes are read by the loop until it is gone. Called by the runners and `shard local`; it must not know what
// the child is. The end of a child is its pidfd, never the end of a pipe, which a daemon left behind may keep open for
// ever.
#include "worker/proc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, LAST_READ_MAX_BYTES = 4 * 1024 * 1024, EXEC_FAILED = 127 };

struct pipe_end {
  struct proc *proc;
  int which;  // 1 stdout, 2 stderr
  int fd;     // -1: none or at its end
  struct event *event;
};

struct proc {
  pid_t pid;
  int pidfd;
  bool running, stopping;
  bool busy, doomed;  // inside a callback; free it when that returns
  struct pipe_end out, err;
  struct event *exited, *grace;
  void (*on_output)(void *arg, int which, const char *bytes, size_t n);
  void (*on_exit)(void *arg, int status);
  void *arg;
};

// What the child says over the close-on-exec pipe when it cannot become the program.
struct exec_error {
  int error;
  int step;  // place in exec_steps
};

enum exec_step { STEP_GROUP, STEP_STREAMS, STEP_DIR, STEP_EXEC };
static const char *const exec_steps[] = {"make a process group for", "connect the streams of", "change the folder for",
                                         "start"};

struct pipes {
  int out[2], err[2], report[2];
};

static int open_pipes(const struct proc_spec *spec, struct pipes *pipes);
static void close_fd(int *fd);
static void close_pipes(struct pipes *pipes);
static _Noreturn void run_child(const struct proc_spec *spec, const struct pipes *pipes, pid_t parent);
static bool connect_streams(const struct proc_spec *spec, const struct pipes *pipes);
static void reset_signals(void);
static bool started(const struct proc_spec *spec, struct pipes *pipes, pid_t pid, char *why, size_t why_size);
static struct proc *watch(const struct proc_spec *spec, struct pipes *pipes, pid_t pid, int pidfd);
static void watch_pipe(struct proc *proc, struct event_base *base, struct pipe_end *end, int which, int *fd);
static void on_readable(evutil_socket_t fd, short what, void *arg);
static size_t read_pipe(struct pipe_end *end, size_t max_bytes);
static void close_pipe(struct pipe_end *end);
static void on_gone(evutil_socket_t fd, short what, void *arg);
static void drain(struct pipe_end *end);
static void on_grace(evutil_socket_t fd, short what, void *arg);
static void release(struct proc *proc);

struct proc *proc_spawn(const struct proc_spec *spec, char *why, size_t why_size) {
  assert(spec->argv && spec->argv[0] && spec->base && spec->in != PROC_PIPE);
  struct pipes pipes = {{-1, -1}, {-1, -1}, {-1, -1}};
  pid_t parent = getpid(), pid;
  int pidfd;
  if (open_pipes(spec, &pipes) < 0) goto failed;
  pid = fork();
  if (pid == 0) run_child(spec, &pipes, parent);
  if (pid < 0) goto failed;
  (void)setpgid(pid, pid);  // also done by the child: whoever comes first
  if (!started(spec, &pipes, pid, why, why_size)) {
    close_pipes(&pipes);
    return NULL;
  }
  pidfd = pidfd_open(pid, 0);
  if (pidfd < 0) {
    (void)kill(-pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    goto failed;
  }
  return watch(spec, &pipes, pid, pidfd);
failed:
  (void)snprintf(why, why_size, "cannot start '%s': %s", spec->argv[0], strerror(errno));
  close_pipes(&pipes);
  return NULL;
}

pid_t proc_pid(const struct proc *proc) {
  return proc->pid;
}

bool proc_running(const struct proc *proc) {
  return proc->running;
}

void proc_signal(struct proc *proc, int signo) {
  if (proc->running) (void)kill(-proc->pid, signo);
}

void proc_stop(struct proc *proc, uint64_t grace_us) {
  if (!proc->running) return;
  proc->stopping = true;
  proc_signal(proc, grace_us ? SIGTERM : SIGKILL);
  proc_signal(proc, SIGCONT);  // a stopped process cannot end itself
  struct timeval grace = {.tv_sec = (time_t)(grace_us / 1000000), .tv_usec = (suseconds_t)(grace_us % 1000000)};
  if (grace_us) (void)evtimer_add(proc->grace, &grace);
}

void proc_free(struct proc *proc) {
  if (!proc) return;
  if (proc->running) {
    proc_signal(proc, SIGKILL);
    while (waitpid(proc->pid, NULL, 0) < 0 && errno == EINTR)
      continue;
    proc->running = false;
  }
  proc->doomed = true;
  if (!proc->busy) release(proc);
}

const char *proc_describe(int status, char *out, size_t out_size) {
  if (WIFEXITED(status)) {
    (void)snprintf(out, out_size, "exit status %d", WEXITSTATUS(status));
    return out;
  }
  if (!WIFSIGNALED(status)) {
    (void)snprintf(out, out_size, "wait status 0x%x", (unsigned)status);
    return out;
  }
  const char *name = sigabbrev_np(WTERMSIG(status)), *core = WCOREDUMP(status) ? " (core dumped)" : "";
  if (name)
    (void)snprintf(out, out_size, "killed by SIG%s%s", name, core);
  else
    (void)snprintf(out, out_size, "killed by signal %d%s", WTERMSIG(status), core);
  return out;
}

static int open_pipes(const struct proc_spec *spec, struct pipes *pipes) {
  if (spec->out == PROC_PIPE && pipe2(pipes->out, O_CLOEXEC) < 0) return -1;
  if (spec->err == PROC_PIPE && pipe2(pipes->err, O_CLOEXEC) < 0) return -1;
  return pipe2(pipes->report, O_CLOEXEC);
}

static void close_fd(int *fd) {
  if (*fd >= 0) (void)close(*fd);
  *fd = -1;
}

// Keeps errno, which the caller reports.
static void close_pipes(struct pipes *pipes) {
  int error = errno;
  for (int i = 0; i < 2; i++) {
    close_fd(&pipes->out[i]);
    close_fd(&pipes->err[i]);
    close_fd(&pipes->report[i]);
  }
  errno = error;
}

static _Noreturn void run_child(const struct proc_spec *spec, const struct pipes *pipes, pid_t parent) {
  struct exec_error report = {.step = STEP_GROUP};
  reset_signals();
  if (setpgid(0, 0) < 0) goto failed;
  if (spec->die_with_parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) goto failed;
    if (getppid() != parent) _exit(EXEC_FAILED);  // it ended before the wish was known
  }
  report.step = STEP_STREAMS;
  if (!connect_streams(spec, pipes)) goto failed;
  report.step = STEP_DIR;
  if (spec->dir && chdir(spec->dir) < 0) goto failed;
  for (char *const *entry = spec->env; entry && *entry; entry++)
    (void)(strchr(*entry, '=') ? putenv(*entry) : unsetenv(*entry));
  report.step = STEP_EXEC;
  (void)execvp(spec->argv[0], spec->argv);
failed:
  report.error = errno;
  if (write(pipes->report[1], &report, sizeof(report)) < 0) _exit(EXEC_FAILED);
  _exit(EXEC_FAILED);
}

static bool connect_streams(const struct proc_spec *spec, const struct pipes *pipes) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return false;
  if (spec->in == PROC_NULL && dup2(null, STDIN_FILENO) < 0) return false;
  if (spec->out == PROC_NULL && dup2(null, STDOUT_FILENO) < 0) return false;
  if (spec->err == PROC_NULL && dup2(null, STDERR_FILENO) < 0) return false;
  if (spec->out == PROC_PIPE && dup2(pipes->out[1], STDOUT_FILENO) < 0) return false;
  return spec->err != PROC_PIPE || dup2(pipes->err[1], STDERR_FILENO) >= 0;
}

// The parent's handlers, ignored signals (SIGPIPE) and mask are not the child's.
static void reset_signals(void) {
  struct sigaction plain = {.sa_handler = SIG_DFL};
  for (int signo = 1; signo < NSIG; signo++)
    (void)sigaction(signo, &plain, NULL);
  sigset_t none;
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

// Waits for the report pipe to close on exec; true when the child became the program.
static bool started(const struct proc_spec *spec, struct pipes *pipes, pid_t pid, char *why, size_t why_size) {
  close_fd(&pipes->report[1]);
  struct exec_error report;
  ssize_t n;
  do
    n = read(pipes->report[0], &report, sizeof(report));
  while (n < 0 && errno == EINTR);
  if (n != (ssize_t)sizeof(report)) return true;
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  const char *what = report.step == STEP_DIR ? spec->dir : spec->argv[0];
  (void)snprintf(why, why_size, "cannot %s '%s': %s", exec_steps[report.step], what, strerror(report.error));
  return false;
}

static struct proc *watch(const struct proc_spec *spec, struct pipes *pipes, pid_t pid, int pidfd) {
  struct proc *proc = base_calloc(1, sizeof(*proc));
  *proc = (struct proc){.pid = pid,
                        .pidfd = pidfd,
                        .running = true,
                        .on_output = spec->on_output,
                        .on_exit = spec->on_exit,
                        .arg = spec->arg};
  watch_pipe(proc, spec->base, &proc->out, 1, &pipes->out[0]);
  watch_pipe(proc, spec->base, &proc->err, 2, &pipes->err[0]);
  proc->exited = event_new(spec->base, pidfd, EV_READ, on_gone, proc);
  proc->grace = evtimer_new(spec->base, on_grace, proc);
  if (!proc->exited || !proc->grace || event_add(proc->exited, NULL) < 0)
    base_die(EXIT_INFRA, "libevent cannot watch process %d", (int)pid);
  close_pipes(pipes);
  return proc;
}

static void watch_pipe(struct proc *proc, struct event_base *base, struct pipe_end *end, int which, int *fd) {
  *end = (struct pipe_end){.proc = proc, .which = which, .fd = *fd};
  *fd = -1;
  if (end->fd < 0) return;
  end->event = event_new(base, end->fd, EV_READ | EV_PERSIST, on_readable, end);
  if (evutil_make_socket_nonblocking(end->fd) < 0 || !end->event || event_add(end->event, NULL) < 0)
    base_die(EXIT_INFRA, "libevent cannot watch a pipe: %s", strerror(errno));
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what;
  struct pipe_end *end = arg;
  struct proc *proc = end->proc;
  proc->busy = true;
  (void)read_pipe(end, READ_BYTES);
  proc->busy = false;
  if (proc->doomed) release(proc);
}

// Reads once and hands on; 0 at the end, when nothing is there, or when the owner let go of the process.
static size_t read_pipe(struct pipe_end *end, size_t max_bytes) {
  static char buffer[READ_BYTES];
  ssize_t n;
  do
    n = read(end->fd, buffer, max_bytes < READ_BYTES ? max_bytes : READ_BYTES);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) {
    close_pipe(end);
    return 0;
  }
  if (!end->proc->doomed && end->proc->on_output) end->proc->on_output(end->proc->arg, end->which, buffer, (size_t)n);
  return end->proc->doomed ? 0 : (size_t)n;
}

static void close_pipe(struct pipe_end *end) {
  if (end->event) event_free(end->event);
  end->event = NULL;
  close_fd(&end->fd);
}

// The child is a zombie now: its group's number is still its own, so what is left of a stopped group can be killed
// before it is reaped.
static void on_gone(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what;
  struct proc *proc = arg;
  int status = 0;
  proc->busy = true;
  if (proc->stopping) proc_signal(proc, SIGKILL);
  while (waitpid(proc->pid, &status, 0) < 0 && errno == EINTR)
    continue;
  proc->running = false;
  (void)evtimer_del(proc->grace);
  drain(&proc->out);
  drain(&proc->err);
  if (!proc->doomed && proc->on_exit) proc->on_exit(proc->arg, status);
  proc->busy = false;
  if (proc->doomed) release(proc);
}

// What was in the pipe when the child ended; a daemon that goes on writing cannot hold us here.
static void drain(struct pipe_end *end) {
  if (end->fd < 0 || end->proc->doomed) return;
  int waiting = 0;
  if (ioctl(end->fd, FIONREAD, &waiting) < 0 || waiting < 0) waiting = 0;
  size_t left = waiting < LAST_READ_MAX_BYTES ? (size_t)waiting : LAST_READ_MAX_BYTES;
  while (left > 0) {
    size_t n = read_pipe(end, left);
    if (n == 0) break;
    left -= n;
  }
  close_pipe(end);
}

static void on_grace(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what;
  proc_signal(arg, SIGKILL);
}

static void release(struct proc *proc) {
  close_pipe(&proc->out);
  close_pipe(&proc->err);
  event_free(proc->exited);
  event_free(proc->grace);
  close_fd(&proc->pidfd);
  free(proc);
}
