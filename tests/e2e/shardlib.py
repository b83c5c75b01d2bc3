"""What end-to-end tests are made of: a daemon and workers as real processes, generated suites, plain pytest to compare
with, and readers of reports. Nothing here speaks the protocol (wire.py does).

    def test_it(tmp_path, make_daemon):
        suite = make_suite(tmp_path, {"test_a.py": "def test_one(): pass"})
        daemon = make_daemon(lease_ttl="2s", heartbeat="500ms")
        workers = run_workers(4, daemon, suite)
        assert codes(workers) == [0, 0, 0, 0]
        assert verdicts(daemon) == plain_pytest(suite).outcomes

Processes are started through Daemon and Worker only; both end what they started when the test is over (conftest.py).
"""
import atexit
import collections
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD_DIR = pathlib.Path(os.environ.get("SHARD_BUILD_DIR", ROOT / "build")).resolve()
SHARDD, SHARD = str(BUILD_DIR / "shardd"), str(BUILD_DIR / "shard")
CACHE = tempfile.mkdtemp(prefix="shard-e2e-cache")  # nobody's own one is touched
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
COUNTED = "coverage" in BUILD_DIR.name
PYTHON = os.environ.get("SHARD_TEST_PYTHON", "/usr/bin/python3")
PYTEST = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
LIMIT_S = 300  # a bound for what hangs, never a wait for an outcome
PROJECT, BUILD = "project", "b1"

# In every test process, plain or sharded: notes what ran, on its own, so that no claim of shard is taken on trust.
RECORDER = '''
import json, os
import pytest

def _note(**what):
    path = os.environ.get("E2E_NOTES")
    if path:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, (json.dumps(what) + "\\n").encode())
        os.close(fd)

def pytest_runtest_logstart(nodeid, location):
    _note(start=nodeid, pid=os.getpid())

def pytest_runtest_logfinish(nodeid, location):
    _note(finish=nodeid, pid=os.getpid())

def pytest_terminal_summary(terminalreporter):
    stats = {kind: [getattr(report, "nodeid", "") for report in reports]
             for kind, reports in terminalreporter.stats.items() if kind and kind != "warnings"}
    _note(stats=stats, pid=os.getpid())
'''
# A conftest.py for suites whose workers shall all have begun before any goes on; see barrier().
BARRIER = '''
import os, time
import pytest

@pytest.fixture(scope="session", autouse=True)
def barrier():
    folder, _, count = os.environ.get("E2E_BARRIER", "").rpartition(":")
    if not folder:
        return
    open(os.path.join(folder, str(os.getpid())), "w").close()
    end = time.monotonic() + 240
    while len(os.listdir(folder)) < int(count):
        assert time.monotonic() < end, "the other workers do not come"
        time.sleep(0.005)
'''
# The same before the first test, where a limit on tests does not see it.
BARRIER_BEFORE = BARRIER.replace('@pytest.fixture(scope="session", autouse=True)\ndef barrier():',
                                 "def pytest_collection_finish():")
WORST_LAST = ["passed", "xpassed", "xfailed", "skipped", "failed", "error"]
FAILING = {"failed", "error", "crashed", "timed_out"}
# A pytest imports only what it is asked for, which halves the time it takes to start; with ALL_PLUGINS all plugins that
# are installed.
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
ALL_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": None}
FOREIGN = ("PYTEST_", "SHARD", "COVERAGE", "COV_", "CI_", "GITLAB", "BUILDKITE", "GITHUB_", "CIRCLE", "E2E_")

Plain = collections.namedtuple("Plain", "outcomes code output junit")
Case = collections.namedtuple("Case", "outcome element")


def clean_env(**more):
    """The environment without what an outer CI, pytest or worker left in it; a value of None takes a variable away."""
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(FOREIGN) and key not in ("PYTHONPATH", "CI", "NO_COLOR")}
    env.update(PYTHONHASHSEED="0", COLUMNS="80", PYTHONDONTWRITEBYTECODE="1", XDG_CACHE_HOME=CACHE, **NO_PLUGINS)
    env.update(more)
    return {key: value for key, value in env.items() if value is not None}


def barrier(tmp_path, count):
    """Variables under which a suite with BARRIER as its conftest.py begins once count workers have."""
    return {"E2E_BARRIER": "%s:%d" % (tempfile.mkdtemp(prefix="barrier", dir=str(tmp_path)), count)}


def eventually(predicate, timeout=120.0, what="the condition"):
    """The first true value of predicate(); fails after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < end, "not within %g s: %s" % (timeout, what)
        time.sleep(0.01)


def make_suite(tmp_path, files, name="suite"):
    """A folder of the given files (text is dedented, bytes are kept), with a pytest.ini that ends pytest's search."""
    folder = pathlib.Path(tmp_path) / name
    for path, text in dict({"pytest.ini": "[pytest]\n"}, **files).items():
        path = folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return folder


# ---- processes

_started = []  # every Daemon and Worker that runs, for conftest.py


def end_all():
    """Ends what still runs. A daemon that ended although nobody told it to is an error."""
    dead = [process.output()[-2000:] for process in _started if process.must_live and not process.running()]
    while _started:
        process = _started[-1]
        if COUNTED and process.must_live:
            process.signal(signal.SIGTERM)  # only who ends in order says which branches it took
            process.wait()
        else:
            _started.pop().kill()
    assert not dead, "shardd ended on its own:\n" + "\n".join(dead)


def descendants(pid):
    """pids of the living processes below pid, parents first."""
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        try:
            with open("/proc/%s/stat" % entry) as stat:
                children[int(stat.read().rpartition(")")[2].split()[1])].append(int(entry))
        except (OSError, ValueError, IndexError):
            continue
    found = [pid]
    for parent in found:
        found.extend(children[parent])
    return found[1:]


class Process:
    """A started program whose output goes to a file."""
    must_live = False  # until it is waited for or killed

    def __init__(self, argv, output, env, cwd=None):
        self.argv, self.output_path = argv, pathlib.Path(output)
        with open(output, "ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                            env=env, cwd=cwd and str(cwd), start_new_session=True)
        self.pid = self.process.pid
        _started.append(self)

    def output(self):
        return self.output_path.read_text(errors="replace")

    def running(self):
        return self.process.poll() is None

    def wait(self, timeout=LIMIT_S):
        """The exit code (negative: the signal)."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running after %g s: %s\n%s\n%s" % (
                timeout, self.argv, self.output()[-4000:], self.more_to_say()))
        if self in _started:
            _started.remove(self)
        return code

    def more_to_say(self):
        return ""

    def signal(self, signo):
        self.process.send_signal(signo)

    def kill(self):
        """SIGKILL to it and all that it started, as a machine that dies would; the exit code."""
        for pid in [self.pid] + descendants(self.pid) if self.running() else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return self.wait()


class Daemon:
    """shardd with options as its flags: Daemon(tmp_path, lease_ttl="2s", keep_results=None); None gives no flag, a list
    repeats it, True is a flag alone. It listens on a Unix socket unless listen= says otherwise. A second start goes on
    with the same database."""

    def __init__(self, tmp_path, **options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="d", dir=str(tmp_path)))
        socket_folder = self.folder
        if len(str(self.folder)) > 90:  # beyond what a Unix socket's path may have
            socket_folder = pathlib.Path(tempfile.mkdtemp(prefix="shard-e2e-"))
        self.options = dict(listen="unix:%s/s" % socket_folder, database=str(self.folder / "shardd.db"), ballast="64k")
        self.options.update(options)
        listen = self.options["listen"]
        self.address = listen if isinstance(listen, str) else listen[0]
        self.database = self.options["database"]
        self.env = clean_env()
        self.process = None

    def argv(self):
        argv = [SHARDD]
        for key, value in self.options.items():
            flag = "--" + key.replace("_", "-")
            for one in value if isinstance(value, list) else [value]:
                argv += [] if one is None else [flag] if one is True else [flag, str(one)]
        return argv

    def start(self, ready=True):
        """Starts it and, unless ready=False, waits until it listens."""
        self.process = Process(self.argv(), self.folder / "log", self.env)
        self.process.must_live = ready
        if ready:
            eventually(self.answers, what="shardd listens at %s" % self.address)
        return self

    def answers(self):
        assert self.process.running(), "shardd ended with %s:\n%s" % (self.process.wait(), self.log())
        form, _, place = self.address.partition(":")
        try:
            if form == "unix":
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.settimeout(5)
                    peer.connect(place)
            else:
                host, _, port = place.lstrip("/").rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), 5).close()
        except OSError:
            return False
        return True

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.running()

    def stop(self, timeout=LIMIT_S):
        """SIGTERM; the exit code."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        return self.process.kill() if self.process else 0

    def restart(self, kill=True):
        self.kill() if kill else self.stop()
        return self.start()

    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def shard(self, *args, env=None, **options):
        """Runs a subcommand of shard to its end: daemon.shard("report", "--json"); .returncode, .stdout, .stderr.
        Further options go to subprocess.run."""
        variables = dict(SHARD_SERVER=self.address, SHARD_PROJECT=PROJECT, SHARD_BUILD=BUILD)
        variables = clean_env(**dict(variables, **(env or {})))
        settings = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S, cwd=str(self.folder),
                        stdin=subprocess.DEVNULL, universal_newlines=True, errors="replace")
        settings.update(options)
        return subprocess.run([SHARD] + [str(arg) for arg in args], env=variables, **settings)

    def json(self, *args, **options):
        done = self.shard(*args, "--json", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def __enter__(self):
        return self if self.running() else self.start()

    def __exit__(self, *_):
        self.kill()


class Worker(Process):
    """One `shard run`. args: further flags of it; env: further variables. With build=None and node=None the CI's
    variables in env decide. It notes which tests its test process started, by a pytest plugin of the tests' own."""

    def __init__(self, daemon, suite, node="0", build=BUILD, args=(), env=None, command=None, subcommand="run"):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="w", dir=str(daemon.folder)))
        self.daemon, self.node, self.notes_path = daemon, node, folder / "notes"
        (folder / "e2e_recorder.py").write_text(RECORDER)
        variables = dict(SHARD_SERVER=daemon.address, SHARD_PROJECT=PROJECT, SHARD_BUILD=build, SHARD_NODE=node,
                         E2E_NOTES=str(self.notes_path), PYTHONPATH=str(folder), PYTEST_PLUGINS="e2e_recorder")
        variables = clean_env(**dict(variables, **(env or {})))
        argv = [SHARD, subcommand] + [str(arg) for arg in args] + ["--"] + [str(word) for word in command or PYTEST]
        super().__init__(argv, folder / "output", variables, suite)

    def more_to_say(self):
        return "---- shardd %s\n%s" % ("runs" if self.daemon.running() else "is dead", self.daemon.log()[-2000:])

    def notes(self):
        if not self.notes_path.exists():
            return []
        return [json.loads(line) for line in self.notes_path.read_text().splitlines()]

    def ran(self):
        """Ids of the tests that its test process began, in order, each time."""
        return [note["start"] for note in self.notes() if "start" in note]

    def finished(self):
        return [note["finish"] for note in self.notes() if "finish" in note]


def start_workers(n, daemon, suite, env=None, **options):
    """n workers, nodes 0…n-1; env: a dict for all, or a function from the number to a dict; options as Worker's."""
    nodes = [options.pop("node")] * n if "node" in options else [str(i) for i in range(n)]
    return [Worker(daemon, suite, node=nodes[i], env=env(i) if callable(env) else env, **options) for i in range(n)]


def run_workers(n, daemon, suite, env=None, timeout=LIMIT_S, **options):
    """As start_workers, waited for."""
    workers = start_workers(n, daemon, suite, env, **options)
    codes(workers, timeout)
    return workers


def codes(workers, timeout=LIMIT_S):
    """Their exit codes, once all have ended."""
    return [worker.wait(timeout) for worker in workers]


def outputs(workers):
    return "\n".join("---- node %s\n%s" % (worker.node, worker.output()) for worker in workers)


# ---- what came out

def attempts(daemon, build=BUILD, **options):
    """{id: [attempt, …]} from `shard report --json`, in the order of the list; a test that nobody reported has
    one row, whose attempt is None."""
    found = collections.OrderedDict()
    for row in daemon.json("report", "--build", build, **options):
        found.setdefault(row["id"], []).append(row)
    return found


def settling(rows):
    """The attempts of a test that settled a verdict: one for each round that ran it."""
    return [row for row in rows if row["attempt"] and row["flags"] & 1]


def ran_again(found, workers):
    """{id: attempts} of the tests in `found` that ran more often than one round without retries allows: once; one that
    is skipped is asked of each of the `workers`, and of one that is alone twice. Each settles once."""
    return {name: len(rows) for name, rows in found.items() if len(settling(rows)) != 1 or len(rows) > (
        max(workers, 2) if {row["status"] for row in rows} == {"skipped"} else 1)}


def verdicts(daemon, build=BUILD, **options):
    """{id: status of the attempt that settled it}; "missing" where none did."""
    return {name: settling(rows)[-1]["status"] if settling(rows) else "missing"
            for name, rows in attempts(daemon, build, **options).items()}


def junit(daemon, path, build=BUILD, **options):
    """{id: outcome} of `shard report --junit`; path: where to write it."""
    done = daemon.shard("report", "--build", build, "--junit", path, **options)
    assert done.returncode == 0, done.stderr
    return {name: case.outcome for name, case in junit_cases(path).items()}


def junit_cases(path):
    """{id: Case} of a JUnit file, the id as readers form it: "classname::name". An id that comes twice is an error, but
    for a test that pytest reports twice, as failed and with a failing teardown."""
    found = {}
    for case in ElementTree.parse(str(path)).iter("testcase"):
        name = "%s::%s" % (case.get("classname"), case.get("name"))
        elements = [child.tag for child in case]
        outcome = next((kind for tag, kind in (("error", "error"), ("failure", "failed"), ("skipped", "skipped"))
                        if tag in elements), "passed")
        if name in found:
            assert {found[name].outcome, outcome} == {"failed", "error"}, "%s is twice in %s" % (name, path)
            outcome = "error"
        found[name] = Case(outcome, case)
    return found


def plain_pytest(suite, *args, command=PYTEST, env=None, timeout=LIMIT_S):
    """One plain pytest over the suite: .outcomes {id: outcome, the worst of its phases}, .code, .output, .junit {id:
    outcome}, as junit() has it."""
    with tempfile.TemporaryDirectory(prefix="shard-plain-") as folder:
        (pathlib.Path(folder) / "e2e_recorder.py").write_text(RECORDER)
        notes, report = os.path.join(folder, "notes"), os.path.join(folder, "junit.xml")
        variables = clean_env(**dict(dict(E2E_NOTES=notes, PYTHONPATH=folder, PYTEST_PLUGINS="e2e_recorder"),
                                     **(env or {})))
        done = subprocess.run(list(command) + list(args) + ["--junitxml=" + report], cwd=str(suite), env=variables,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        cases = junit_cases(report) if os.path.exists(report) else {}
        outcomes = {}
        with open(notes) as lines:
            stats = [json.loads(line)["stats"] for line in lines if '"stats"' in line]
        for kind in WORST_LAST:
            outcomes.update({name: kind for name in (stats[-1] if stats else {}).get(kind, [])})
        return Plain(outcomes, done.returncode, done.stdout.decode(errors="replace"),
                     {name: case.outcome for name, case in cases.items()})
