"""`shard local`: a private server and workers in one command; what it prints, keeps and leaves, and its exit codes."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from shardlib import PYTEST, PYTHON, SHARD, clean_env, eventually

PATIENCE = 60


class Local:
    """A checkout with tests, a home with a cache and a folder for temporary files, all of its own."""

    def __init__(self, tmp_path):
        self.folder, self.cache, self.tmp = tmp_path / "checkout", tmp_path / "cache", tmp_path / "tmp"
        for path in (self.folder, self.cache, self.tmp):
            path.mkdir()

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def env(self, **more):
        return clean_env(XDG_CACHE_HOME=str(self.cache), TMPDIR=str(self.tmp), **more)

    def argv(self, *options, command=None):
        return [SHARD, "local", *options, "--", *(command or PYTEST)]

    def run(self, *options, command=None, **more):
        done = subprocess.run(self.argv(*options, command=command), env=self.env(**more), cwd=self.folder, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        self.check_nothing_left()
        return done

    def start(self, *options, command=None, **more):
        return subprocess.Popen(self.argv(*options, command=command), env=self.env(**more), cwd=self.folder,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                errors="replace")

    def processes(self):
        """Whatever still lives in the checkout or knows its temporary folder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as file:
                    if str(self.tmp).encode() in file.read():
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def check_nothing_left(self):
        eventually(lambda: not self.processes(), what="the end of every process: %s" % self.processes())
        assert os.listdir(self.tmp) == []


@pytest.fixture
def local(tmp_path):
    one = Local(tmp_path)
    yield one
    for pid in one.processes():
        os.kill(pid, signal.SIGKILL)


# Three files: b has more tests, yet a has the long one, which comes last in collection order.
def write_uneven(local):
    local.write("test_a.py", "import time\ndef test_long():\n    time.sleep(0.8)\n")
    local.write("test_b.py", "import time, pytest\n@pytest.mark.parametrize('i', range(8))\n"
                             "def test_short(i):\n    time.sleep(0.1)\n")


# ---- two runs

def makespan_ratio(out):
    """(makespan ÷ lower bound) of the summary."""
    found = re.search(r"2 workers: makespan \S+, ([0-9.]+) of the lower bound", out)
    assert found, out
    return float(found[1])


def test_second_run_is_balanced(local):
    """The history is kept in the user's cache; with it, the long test begins first although it is collected last."""
    local.write("test_b.py", "import time, pytest\n@pytest.mark.parametrize('i', range(8))\n"
                             "def test_short(i):\n    time.sleep(0.1)\n")
    local.write("test_z.py", "import time\ndef test_long():\n    time.sleep(0.8)\n")
    first = local.run("-n", "2")
    assert first.returncode == 0, first.stderr
    histories = [path for path in local.cache.rglob("history.db")]
    assert len(histories) == 1 and histories[0].stat().st_size > 0
    plan = local.run("-n", "2", "--dry-run")
    long_line = [line for line in plan.stdout.splitlines() if "test_z.py" in line]
    assert len(long_line) == 1 and long_line[0].split()[1] == "0", "the long test begins at once:\n" + plan.stdout
    second = local.run("-n", "2")
    assert second.returncode == 0, second.stderr
    assert "9 passed" in second.stdout
    assert makespan_ratio(second.stdout) < 1.5, second.stdout
    assert [path for path in local.cache.rglob("history.db")] == histories


def test_history_where_told(local, tmp_path):
    local.write("test_a.py", "def test_a():\n    pass\n")
    assert local.run("-n", "2", "--history", str(tmp_path / "h.db")).returncode == 0
    assert (tmp_path / "h.db").exists()
    assert not list(local.cache.rglob("history.db"))


def test_two_at_once(local):
    """The second has no history to write to, says so, and works all the same."""
    write_uneven(local)
    local.write("test_go.py", "import os, time\ndef test_go():\n    open(os.environ['STARTED'], 'w').close()\n"
                              "    while not os.path.exists(os.environ['GO']):\n        time.sleep(0.01)\n")
    started, go = local.folder / "started", local.folder / "go"
    first = local.start("-n", "2", STARTED=str(started), GO=str(go))
    eventually(started.exists, what="the first one's test")
    go_other = local.folder / "test_b.py"
    second = subprocess.run(local.argv("-n", "2", command=[*PYTEST, str(go_other)]), env=local.env(), cwd=local.folder,
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    go.touch()
    out, err = first.communicate(timeout=PATIENCE)
    assert (first.returncode, second.returncode) == (0, 0), err + second.stderr
    assert "10 passed" in out and "8 passed" in second.stdout
    assert "another shard local holds the history" in second.stderr
    assert "not kept" in second.stderr
    local.check_nothing_left()


# ---- what is printed

def test_lines_stay_whole(local):
    """Every line has one worker's prefix and all of one worker's text, also when a line comes in pieces."""
    local.write("test_a.py", """
import os, pytest, sys, time
@pytest.mark.parametrize('i', range(40))
def test_talk(i, capfd):
    with capfd.disabled():
        word = 'w%s' % os.environ['SHARD_NODE']
        for piece in range(20):
            os.write(1, ('%s.%d.%d|' % (word, i, piece)).encode())
            time.sleep(0.0005)
        os.write(1, b'end\\n')
""")
    done = local.run("-n", "2", "--color", "never", command=[PYTHON, "-m", "pytest", "-p", "no:terminal"])
    assert done.returncode == 0, done.stderr
    talked = set()
    for line in done.stdout.splitlines():
        if "|end" not in line:
            continue
        found = re.fullmatch(r"\[([01])\] (.*)\|end", line)
        assert found, "two workers in one line, or none: %r" % line
        pieces = found[2].split("|")
        test = pieces[0].split(".")[1]
        assert pieces == ["w%s.%s.%d" % (found[1], test, piece) for piece in range(20)]
        talked.add(test)
    assert talked == {str(i) for i in range(40)}


def test_one_worker_has_the_terminal_to_itself(local):
    local.write("test_a.py", "def test_a():\n    pass\n")
    done = local.run("-n", "1")
    assert done.returncode == 0 and "[0]" not in done.stdout + done.stderr


def test_summary(local):
    write_uneven(local)
    local.write("test_bad.py", "def test_bad():\n    print('what it said')\n    assert 'this' == 'that'\n")
    done = local.run("-n", "2")
    assert done.returncode == 1
    own = "\n".join(line for line in done.stdout.splitlines() if not re.match(r"\[[01]\] ", line))
    for words in ("test_bad.py::test_bad", "what it said", "assert 'this' == 'that'", "slowest tests:",
                  "test_a.py::test_long", "of the lower bound", "a static split by count would take",
                  "9 passed, 1 failed"):
        assert words in own, own
    assert "\033" not in done.stdout, "no colours outside of a terminal"


def test_names_are_shown_escaped(local):
    """A test's name cannot write on the terminal, wherever it is shown."""
    evil = "evil\033[2J\033]0;title\007.sh"
    local.write("list", "ok.sh\n%s\n" % evil)
    done = local.run("-n", "2", "--list-file", "list", command=["sh", "-c", 'test "$1" = ok.sh', "sh", "{}"])
    assert done.returncode == 1
    assert "\033" not in done.stdout + done.stderr and "\007" not in done.stdout + done.stderr
    assert "evil\\x1b[2J" in done.stdout
    assert re.search(r"failed here: evil\\x1b\[2J", done.stderr)


def test_junit_report(local):
    write_uneven(local)
    done = local.run("-n", "2", "--junit", "report.xml")
    assert done.returncode == 0
    text = (local.folder / "report.xml").read_text()
    assert text.count("<testcase ") == 9


class Terminal:
    """Runs a command on a terminal of 100 columns and keeps what it shows."""

    def __init__(self, argv, env, cwd):
        self.shown = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
            os.chdir(cwd)
            os.execve(argv[0], argv, env)

    def read_until(self, pattern, seconds=PATIENCE):
        """Reads until the pattern matches (None: until the end)."""
        deadline = time.monotonic() + seconds
        while pattern is None or not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, self.shown
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                assert pattern is None, self.shown
                return
            self.shown += data

    def end(self):
        self.read_until(None)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize("no_color", [False, True])
def test_progress_on_a_terminal(local, no_color):
    """A bar that is redrawn in place and gone at the end; without colours when NO_COLOR says so."""
    local.write("test_a.py", "import time, pytest\n@pytest.mark.parametrize('i', range(8))\n"
                             "def test_nap(i):\n    time.sleep(0.2)\n")
    more = {"NO_COLOR": "1"} if no_color else {}
    shown = Terminal(local.argv("-n", "2", command=[*PYTEST, "--color=no"]),
                     local.env(TERM="xterm", COLUMNS="100", **more), local.folder)
    shown.read_until(rb"\r\[[^\n]*\] +[1-7]/8 \d+%, 2 workers, [^\n]* left: test_a.py::test_nap")
    assert shown.end() == 0
    assert b"8 passed" in shown.shown
    colours = re.findall(rb"\033\[[0-9;]*m", shown.shown)
    assert bool(colours) == (not no_color), shown.shown
    last_bar = shown.shown.rindex(b"\r[")
    assert b"\r\033[K" in shown.shown[last_bar:], "the bar is taken away at the end"
    local.check_nothing_left()


def test_lines_where_there_is_no_terminal(local):
    local.write("test_a.py", "import time\ndef test_a():\n    time.sleep(0.5)\ndef test_b():\n    time.sleep(0.5)\n")
    done = local.run("-n", "2")
    assert re.search(r"^shard: \d+/2 \d+%, 2 workers, ", done.stderr, re.M), done.stderr
    assert "\r" not in done.stderr + done.stdout


def test_quiet(local):
    write_uneven(local)
    done = local.run("-n", "2", "--quiet", command=[*PYTEST, "-q"])
    assert done.returncode == 0
    assert done.stderr == "", done.stderr


# ---- dry run

def test_dry_run_runs_nothing(local):
    local.write("test_a.py", "import os\ndef test_a():\n    open('ran', 'w').close()\ndef test_b():\n    pass\n")
    done = local.run("-n", "3", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not (local.folder / "ran").exists()
    assert done.stdout.split("\n")[0].split() == ["worker", "start", "duration", "tests", "what"]
    assert "finish" in done.stdout and "test_a.py" in done.stdout
    again = local.run("-n", "3", "--dry-run")
    assert again.stdout == done.stdout, "nothing was learnt"


def test_dry_run_of_a_broken_suite(local):
    local.write("test_a.py", "import nothing_of_this_name\n")
    done = local.run("-n", "2", "--dry-run")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "nothing_of_this_name" in done.stdout + done.stderr


# ---- stopping

@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(local, signo):
    local.write("test_a.py", "import os, time\ndef test_first():\n    pass\ndef test_long():\n"
                             "    open('started', 'w').close()\n    time.sleep(600)\n")
    proc = local.start("-n", "2", command=PYTEST)
    eventually((local.folder / "started").exists, what="the long test")
    began = time.monotonic()
    proc.send_signal(signo)
    out, err = proc.communicate(timeout=PATIENCE)
    assert proc.returncode == 128 + signo, out + err
    assert time.monotonic() - began < 15
    local.check_nothing_left()


def test_ctrl_c_on_a_terminal(local):
    """A terminal sends SIGINT to every process in the foreground at once; that must end as cleanly."""
    local.write("test_a.py", "import time\ndef test_long():\n    open('started', 'w').close()\n    time.sleep(600)\n")
    shown = Terminal(local.argv("-n", "2"), local.env(TERM="xterm"), local.folder)
    eventually((local.folder / "started").exists, what="the long test")
    os.write(shown.fd, b"\x03")
    assert shown.end() == 130, shown.shown
    local.check_nothing_left()


def test_a_second_ctrl_c_is_impatient(local):
    """Tests that ignore SIGINT and SIGTERM hold nobody up twice."""
    local.write("test_a.py", "import signal, time\ndef test_deaf():\n"
                             "    for s in (signal.SIGINT, signal.SIGTERM):\n        signal.signal(s, signal.SIG_IGN)\n"
                             "    open('started', 'w').close()\n"
                             "    until = time.time() + 600\n    while time.time() < until:\n        time.sleep(1)\n")
    proc = local.start("-n", "2")
    eventually((local.folder / "started").exists, what="the deaf test")
    proc.send_signal(signal.SIGINT)
    while "told to stop" not in proc.stderr.readline():
        assert proc.poll() is None
    proc.send_signal(signal.SIGINT)
    began = time.monotonic()
    proc.communicate(timeout=PATIENCE)
    assert proc.returncode == 130
    assert time.monotonic() - began < 10
    local.check_nothing_left()


def test_killed_outright(local):
    """Even SIGKILL leaves no process: server and workers go with their parent."""
    local.write("test_a.py", "import time\ndef test_long():\n    open('started', 'w').close()\n    time.sleep(600)\n")
    proc = local.start("-n", "2")
    eventually((local.folder / "started").exists, what="the long test")
    proc.kill()
    proc.wait()
    eventually(lambda: not local.processes(), what="the end of every process")
    for pipe in (proc.stdout, proc.stderr):
        pipe.close()


# ---- exit codes

@pytest.mark.parametrize("text, options, code", [
    ("def test_a():\n    pass\n", [], 0),
    ("def test_a():\n    assert False\n", [], 1),
    ("import nothing_of_this_name\n", [], 2),
    ("def not_a_test():\n    pass\n", [], 5),
    ("def not_a_test():\n    pass\n", ["--allow-empty"], 0),
    ("import os\ndef test_a():\n    os._exit(3)\n", [], 1),
])
def test_exit_codes(local, text, options, code):
    local.write("test_a.py", text)
    done = local.run("-n", "2", *options)
    assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.parametrize("argv, said", [
    (["--workers", "0", "--", "pytest"], "workers"),
    (["-n", "many", "--", "pytest"], "workers"),
    (["--wokers", "2", "--", "pytest"], "--workers"),
    (["-n", "2"], "--"),
    (["-n", "2", "--results", "guess", "--runner", "command", "--list", "ls", "--", "true"], "guess"),
    (["-n", "2", "--runner", "ruby", "--", "true"], "ruby"),
])
def test_usage_errors(local, argv, said):
    done = subprocess.run([SHARD, "local", *argv], env=local.env(), cwd=local.folder, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    local.check_nothing_left()


def test_a_temporary_folder_that_cannot_be_used(local):
    local.write("test_a.py", "def test_a():\n    pass\n")
    done = subprocess.run(local.argv("-n", "2"), env=dict(local.env(), TMPDIR=str(local.tmp / "nowhere")),
                          cwd=local.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
    assert done.returncode == 16
    assert "TMPDIR" in done.stderr and "nowhere" in done.stderr


def test_an_unusable_history_is_an_error_only_when_asked_for(local):
    local.write("test_a.py", "def test_a():\n    pass\n")
    told = local.run("-n", "2", "--history", "/proc/history.db")
    assert told.returncode == 16 and "/proc/history.db" in told.stderr
    done = subprocess.run(
        local.argv("-n", "2"), env=dict(local.env(), XDG_CACHE_HOME="/proc/none"), cwd=local.folder, text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
    assert done.returncode == 0 and "times are not kept" in done.stderr
