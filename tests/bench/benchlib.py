"""What the benchmarks in Python are made of: a daemon, the tools in C, rows with a target and a verdict, JSON.

A part measures, adds rows to a Report and ends with its finish(): 1 when a target was missed, 2 when it could not
measure. A row that was missed while the machine itself, measured in the same run, could not have met it has the verdict
"machine" and says why. Each part leaves its rows as lines of JSON in BUILD/bench-NAME.json, where table.py reads them.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
PYTEST = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
LIMIT_S = 600  # a bound for what hangs
START_S = 120


class Failed(Exception):
    """The part cannot measure: the text says why."""


def clean_env(**more):
    """The environment without what an outer CI, pytest or worker left in it."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("SHARD", "PYTEST_", "CI", "GITLAB", "BUILDKITE", "GITHUB_", "CIRCLE"))}
    return dict(kept, **more)


# ---- processes

def first_in_line():
    """For preexec_fn: ahead of everything of normal priority, which is what a quiet machine is like."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def may_be_first():
    """Whether this process may give such a priority, and BENCH_POLITE does not forbid it."""
    if os.environ.get("BENCH_POLITE"):
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return True
    except OSError:
        return False


class Server:
    """A process that listens at a Unix socket, started in a folder of its own and ended with the block."""

    def __init__(self, argv, path, preexec=None, **kinds):
        self.argv, self.socket, self.preexec, self.kinds = [str(part) for part in argv], path, preexec, kinds
        self.process = None

    def __enter__(self):
        kinds = dict(dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=clean_env()), **self.kinds)
        self.process = subprocess.Popen(self.argv, preexec_fn=self.preexec, **kinds)
        self.wait_ready(time.monotonic() + START_S)
        return self

    def wait_ready(self, until):
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > until:
                raise Failed(f"does not start: {' '.join(self.argv)}")
            time.sleep(0.01)

    def listens(self):
        """The socket's file is there a moment before anybody listens."""
        with socket.socket(socket.AF_UNIX) as trying:
            return self.socket.exists() and trying.connect_ex(str(self.socket)) == 0

    def __exit__(self, *_):
        self.end()

    def end(self, signo=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(signo)
        self.process.wait(LIMIT_S)

    @property
    def pid(self):
        return self.process.pid


class Daemon(Server):
    """shardd with its database below BUILD, where the disk is that of the project."""

    def __init__(self, place, database=None, preexec=None, env=None, **options):
        path = place.socket()
        options = dict(dict(listen=f"unix:{path}", database=database or place.file("shardd.db"), log_level="error",
                            max_connections=16000, ballast=0), **options)
        flags = [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
        super().__init__([place.build / "shardd", *flags], path, preexec, **({"env": env} if env else {}))
        self.address, self.database = options["listen"], options["database"]


class Place:
    """A folder below BUILD for databases, and one for sockets, whose paths must be short; both go with the block."""

    def __init__(self, build):
        self.build = build

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=self.build))
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        self.count = 0
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _next(self):
        self.count += 1
        return self.count

    def socket(self):
        return self.sockets / f"s{self._next()}"

    def file(self, name):
        return self.folder / f"{self._next()}-{name}"


def cpu_s(pid):
    """CPU seconds of all threads of a process so far."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks.iterdir()) / 1e9


def tool(folder, name, *args, preexec=None, **options):
    """Runs one of the tools in C; what it prints, as a dict; None when it prints nothing."""
    flags = [part for option, value in options.items() for part in ("--" + option.replace("_", "-"), str(value))]
    argv = [str(folder / "bench" / name), *map(str, args), *flags]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=LIMIT_S, check=False, preexec_fn=preexec)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def swarm(folder, daemon, preexec=None, **options):
    return tool(folder, "swarm", preexec=preexec, server=daemon.address, pid=daemon.pid, **options)


def timed(command, cwd, env, passed=None):
    """(wall seconds, output) of a run that has to end with 0 and, unless None, to tell of so many passed tests."""
    begin = time.perf_counter()
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
    took, output = time.perf_counter() - begin, done.stdout.decode(errors="replace")
    if done.returncode != 0 or (passed is not None and f"{passed} passed" not in output):
        raise Failed(f"ended with {done.returncode}: {' '.join(map(str, command))}\n{output[-2000:]}")
    return took, output


def past(build, tests, builds, call_us):
    """A database with a past (history.c), made once and kept below BUILD; the path of a copy is the caller's work. It
    is made anew when the schema, or what makes it, has changed."""
    sources = [ROOT / "tests/bench/history.c", ROOT / "tests/bench/bench.c", *sorted(ROOT.glob("server/schema*"))]
    kept = build / f"bench-past-{tests}-{builds}-{call_us}.db"
    if kept.exists() and kept.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return kept
    making = kept.with_suffix(".new")
    for old in build.glob(making.name + "*"):
        old.unlink()
    begin = time.monotonic()
    print(f"making {kept.name}: {builds} builds of {tests} tests …", flush=True)
    tool(build, "history", making, tests, builds, call_us)
    making.rename(kept)
    for left in build.glob(making.name + "*"):
        left.unlink()
    print(f"made in {time.monotonic() - begin:.0f} s, {kept.stat().st_size / 1e6:.0f} MB", flush=True)
    return kept


def copy(place, database):
    """A fresh copy of a database, to start a daemon with."""
    made = place.file("copy.db")
    shutil.copyfile(database, made)
    return made


class Others:
    """How many cores others have used meanwhile: what is neither idle nor ours. Processes count as ours once they
    were waited for."""

    def __init__(self):
        self.begin = time.monotonic(), *self._used()

    @staticmethod
    def _used():
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]  # user, nice, system, idle, iowait, …
        busy = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
        own = os.times()
        return busy, own.user + own.system + own.children_user + own.children_system

    def cores(self):
        begin, busy, own = self.begin
        now_busy, now_own = self._used()
        return max(0.0, (now_busy - busy) - (now_own - own)) / max(time.monotonic() - begin, 1e-3)

    def excuse(self):
        """Why what takes all cores could not be measured; None when they were ours."""
        cores = self.cores()
        return f"others used {cores:.1f} of {os.cpu_count()} cores meanwhile" if cores > 0.1 * os.cpu_count() else None


# ---- rows and verdicts

class Report:
    """The rows of one part."""

    def __init__(self, name, path):
        self.name, self.path, self.lines, self.missed = name, path, [], False

    def sample(self, **what):
        """A figure without a target."""
        self.lines.append(dict(bench=self.name, **what))

    def row(self, row, what, figure, target, unit="", at_least=False, machine=None, **more):
        """A figure with a target, smaller being better unless at_least. machine: why the machine cannot do better, if
        that is so; it excuses a miss."""
        met = figure >= target if at_least else figure <= target
        verdict = "met" if met else "machine" if machine else "MISSED"
        self.missed |= verdict == "MISSED"
        self.lines.append(dict(bench=self.name, row=row, what=what, figure=figure, target=target, unit=unit,
                               at_least=at_least, verdict=verdict, why=machine if verdict == "machine" else "", **more))
        print(say(self.lines[-1]), flush=True)

    def skip(self, row, what, why):
        """A row that could not be measured here; table.py says so loudly."""
        self.lines.append(dict(bench=self.name, row=row, what=what, verdict="SKIPPED", why=why))
        print(say(self.lines[-1]), flush=True)

    def finish(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return 1 if self.missed else 0


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.4g}"


def say(row):
    """A row for people."""
    if row["verdict"] == "SKIPPED":
        return f"SKIPPED: {row['what']}: {row['why']}"
    sign = "≥" if row["at_least"] else "≤"
    verdict = {"machine": f"missed because of the machine: {row['why']}"}.get(row["verdict"], row["verdict"])
    return (f"{row['what']}: {number(row['figure'])}{row['unit']}, target {sign} {number(row['target'])}{row['unit']}: "
            f"{verdict}")


def median(values):
    return statistics.median(list(values))


# ---- mains

def arguments(doc, name, **numbers):
    """BUILD, JSON, and --NAME N for each number, whose default may come from the environment (ROUNDS=3 make …)."""
    parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    parser.add_argument("build", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("json", type=lambda text: pathlib.Path(text).resolve())
    for option, default in numbers.items():
        parser.add_argument("--" + option, type=int, default=int(os.environ.get(option.upper(), default)))
    args = parser.parse_args()
    args.report = Report(name, args.json)
    return args


def main(part, args):
    """Runs part(args, place); the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what runs is ended then, too
    args.json.unlink(missing_ok=True)
    try:
        with Place(args.build) as place:
            part(args, place)
    except (Failed, subprocess.TimeoutExpired) as why:
        print(f"bench-{args.report.name}: {why}", file=sys.stderr)
        return 2
    return args.report.finish()
