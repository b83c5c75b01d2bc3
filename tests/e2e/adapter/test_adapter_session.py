"""Options, ends of the session, processes inside tests, and trouble with the other end."""
import os
import re

import pytest
from fake_worker import Answer, FakeWorker, has_plugin, stable

FIVE = '''
    def test_a(): pass
    def test_b(): assert 0
    def test_c(): pass
    def test_d(): assert 0
    def test_e(): pass
'''


def five(*names):
    return ["test_it.py::test_" + name for name in names]


@pytest.fixture
def suite5(suite):
    suite.write("test_it.py", FIVE)
    return suite


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("args,maxfail,ran", [
    (["-x"], 1, "ab"), (["--maxfail=2"], 2, "abcd"), (["--maxfail=3"], 3, "abcde")])
def test_stops_by_its_own_bound(suite5, args, maxfail, ran, size):
    plain, fed = suite5.plain(*args), suite5.fed(*args, answer=Answer(size))
    assert fed.listed["maxfail"] == maxfail
    assert list(fed.statuses) == five(*ran) and fed.statuses == plain.statuses
    assert fed.rc == plain.rc == 1 and fed.bye == {"t": "bye", "rc": 1, "stopped": ran != "abcde", "unexplained": False}
    for line in plain.output.splitlines():
        if line.startswith("!!!"):
            assert line in fed.output
    assert fed.kinds()[-3:] == ["result", "bye", "end"]


def test_stepwise_stops(suite5):
    plain, fed = suite5.plain("--stepwise"), suite5.fed("--sw")
    assert fed.rc == plain.rc == 2 and fed.bye["stopped"]
    assert fed.ids == five(*"bcde") and list(fed.statuses) == five("b")  # the plain run's cache was used


def test_without_bound_nothing_is_announced(suite5):
    lazy = {"n": 0, "lazy": True} if suite5.collect == "lazy" else {"n": 5}
    listed = suite5.fed().listed
    assert len(listed.pop("sources", "0" * 64)) == 64  # a lazy session's digest of its files
    assert listed == dict(lazy, t="listed", duplicates=[], maxfail=0, errors=0)


@pytest.mark.full
@pytest.mark.parametrize("args", [
    ["-p", "no:cacheprovider"], ["--capture=sys"], ["-o", "addopts=-q"], ["-qq"], ["--durations=3"], ["--tb=short"],
    ["--strict-markers", "-o", "markers=slow"]])
def test_options_of_output(suite5, args):
    suite5.write("test_more.py", "def test_slow(): print('slow')\n")
    plain, fed = suite5.same(*args, answer=Answer(2))
    assert plain.rc == 1


@pytest.mark.parametrize("args", [
    ["-k", "a or b"], ["-m", "not slow"], ["--deselect", "test_it.py::test_b"], ["-s"], ["--junitxml=r.xml"],
    ["-p", "no:terminal"], ["test_it.py::test_c", "test_it.py::test_a"], ["--import-mode=importlib"], ["-W", "error"],
    ["--ff"], ["--setup-show"]])
def test_options(suite5, args):
    suite5.write("test_more.py", "import pytest\n@pytest.mark.slow\ndef test_slow(): print('slow')\n")
    suite5.plain()  # fills the cache
    if args[:2] == ["-W", "error"]:
        suite5.write("pytest.ini", "[pytest]\nmarkers = slow\n")
    if "no:terminal" in args:  # which records the outcomes
        fed = suite5.fed(*args)
        assert len(fed.statuses) == 6 and fed.rc == 1
        return
    plain, fed = suite5.same(*args, answer=Answer(2))
    assert plain.rc in (0, 1)


def test_last_failed(suite5):
    assert suite5.plain().rc == 1
    plain, fed = suite5.same("--lf", answer=Answer(1))
    assert fed.ids == five("b", "d")
    cached = (suite5.folder / ".pytest_cache" / "v" / "cache" / "lastfailed").read_text()
    assert "test_b" in cached and "test_d" in cached


def test_pyargs_and_rootdir(suite):
    suite.write("lib/pkg/__init__.py", "")
    suite.write("lib/pkg/test_in.py", "def test_in(): pass\n")
    suite.write("work/pytest.ini", "[pytest]\n")
    plain, fed = suite.same("--pyargs", "lib.pkg.test_in")
    assert fed.rc == 0 and fed.files == ["lib/pkg/test_in.py"]
    plain, fed = suite.same("--rootdir=work", "-c", "work/pytest.ini", "lib/pkg")
    assert fed.files == ["../lib/pkg/test_in.py"]


def test_junit_names_every_test_once(suite5):
    from xml.etree import ElementTree
    assert suite5.fed("--junitxml=r.xml", answer=Answer(1, "park", "park")).rc == 1
    cases = [case.get("name") for case in ElementTree.parse(str(suite5.folder / "r.xml")).iter("testcase")]
    assert cases == ["test_a", "test_b", "test_c", "test_d", "test_e"]


def test_collection_error_ends_as_plain(suite5):
    suite5.write("test_bad.py", "import nothing_of_that_name\n")
    plain, fed = suite5.plain(), suite5.fed()
    assert fed.rc == plain.rc == fed.bye["rc"] == 2 and fed.stats == plain.stats
    assert fed.listed["errors"] == 1 and fed.listed["n"] == 0 and not fed.ids
    late = ["need", "listed"] if suite5.collect == "lazy" else []  # told to collect after all
    assert fed.kinds() == ["hello", "listed"] + late + ["bye", "end"]
    plain, fed = suite5.plain("-x"), suite5.fed("-x")  # stops half-way: no list at all
    assert fed.rc == plain.rc and fed.rc != 0
    assert fed.kinds() == ["hello"] + (["listed", "need"] if suite5.collect == "lazy" else []) + ["bye", "end"]


def test_continue_on_collection_errors(suite5):
    suite5.write("test_bad.py", "import nothing_of_that_name\n")
    plain, fed = suite5.plain("--continue-on-collection-errors"), suite5.fed("--continue-on-collection-errors")
    assert fed.rc == plain.rc == fed.bye["rc"] == 1 and len(fed.results) == 5
    if suite5.collect == "lazy":  # the first worker has told of it; nothing in that file is anybody's to run
        assert list(fed.opened) == ["test_it.py"] and plain.stats.pop("error") == ["test_bad.py"]
    else:
        assert fed.listed["errors"] == 1 and fed.listed["n"] == 5
    assert fed.stats == plain.stats


def test_nothing_collected(suite):
    plain, fed = suite.plain(), suite.fed()
    assert fed.rc == plain.rc == fed.bye["rc"] == 5 and fed.listed["n"] == 0


def test_nothing_given_is_no_failure(suite5):
    fed = suite5.fed(answer=Answer([]))
    assert fed.rc == 0 and fed.bye == {"t": "bye", "rc": 0, "stopped": False, "unexplained": False} and not fed.results
    assert suite5.fed(answer=Answer([], "park")).rc == 0


def test_wrong_command_line(suite5):
    fed = suite5.fed("--no-such-option")
    assert fed.rc == 4 and not fed.messages
    fed = suite5.fed("no_such_file.py")
    assert fed.rc == 4 and fed.kinds() == ["hello", "bye", "end"] and fed.bye["rc"] == 4


@pytest.mark.full
@pytest.mark.parametrize("args", [["--collect-only", "-q"], ["--version"], ["--help"]])
def test_silent_where_nothing_runs(suite5, args):
    plain, fed = suite5.plain(*args), suite5.fed(*args)
    assert fed.rc == plain.rc == 0 and not fed.messages
    assert stable(fed.output) == stable(plain.output)


@pytest.mark.full
def test_does_nothing_without_the_variable(suite5):
    plugin = os.path.join(os.path.dirname(__file__), "..", "..", "..", "worker", "adapters")
    env = {"PYTHONPATH": os.path.abspath(plugin)}

    class Without(FakeWorker):
        def launch(self, args, env, program):
            super().launch(args, env, ["/usr/bin/env", "-u", "SHARD_RUNNER_SOCK", program or os.environ.get(
                "SHARD_TEST_PYTHON", "/usr/bin/python3"), "-m", "pytest"])

    fed = suite5.fed(worker=Without, **env)
    assert not fed.messages and fed.rc == 1 and len(fed.stats["passed"]) == 3


# Ends in the middle.

@pytest.mark.parametrize("how,rc,stopped", [
    ("os._exit(0)", 0, None), ("os._exit(7)", 7, None), ("pytest.exit('enough')", 2, True),
    ("pytest.exit('enough', 0)", 0, True), ("raise KeyboardInterrupt", 2, False)])
def test_ends_inside_a_test(suite, how, rc, stopped):
    suite.write("test_it.py", "import os, pytest\ndef test_a(): pass\ndef test_b(): %s\ndef test_c(): pass\n" % how)
    fed = suite.fed(answer=Answer(5))
    assert fed.rc == rc
    assert fed.statuses == {"test_it.py::test_a": "passed"} and fed.started == five("a", "b")
    if stopped is None:
        assert fed.bye is None and fed.kinds()[-1] == "start"
    else:
        assert fed.bye == {"t": "bye", "rc": rc, "stopped": stopped, "unexplained": stopped}  # by exit(), no option


def test_unknown_id_is_told_and_ends_the_session(suite5):
    for batches in ([["test_it.py::test_a", "test_it.py::test_no"]], [["test_it.py::test_a"], ["test_it.py::test_no"]]):
        fed = suite5.fed(answer=Answer(batches))
        assert len(fed.errors) == 1 and "test_it.py::test_no" in fed.errors[0]
        assert fed.rc == fed.bye["rc"] == 2 and "not collected here" in fed.output


@pytest.mark.full
@pytest.mark.parametrize("bytes_", [b"no json\n", b'{"t":"run"}\n', b'{"t":"run","ids":[1]}\n', b"\xff\xfe\n",
                                    b"x" * (1 << 21)])
def test_nonsense_is_told_and_ends_the_session(suite5, bytes_):
    class Babbles(FakeWorker):
        def on_need(self, message):
            self.send_bytes(bytes_)

    fed = suite5.fed(worker=Babbles)
    assert len(fed.errors) == 1 and fed.rc == fed.bye["rc"] == 2 and not fed.results


def test_unknown_messages_and_odd_packets_are_fine(suite5):
    class Dribbles(FakeWorker):
        def send_bytes(self, data):
            for i in range(len(data)):
                super().send_bytes(data[i:i + 1])

        def on_need(self, message):
            self.send({"t": "news", "of": [1]})
            self.send_bytes(b"[]\n\n")
            self.send({"t": "run", "ids": []})
            super().on_need(message)

    fed = suite5.fed(worker=Dribbles, answer=Answer(2))
    assert fed.rc == 1 and len(fed.statuses) == 5 and not fed.errors


@pytest.mark.full
@pytest.mark.parametrize("at", ["need", "start", "second need"])
def test_lost_connection_is_never_green(suite, at):
    suite.write("test_it.py", "def test_a(): pass\ndef test_b(): pass\n")

    class HangsUp(FakeWorker):
        def on_need(self, message):
            if at == ("second need" if self.started else "need"):
                return self.hang_up()
            super().on_need(message)

        def on_start(self, message):
            if at == "start":
                return self.hang_up()
            super().on_start(message)

    fed = suite.fed(worker=HangsUp, answer=Answer(1))
    assert fed.rc == 2 and "lost the connection" in fed.output and fed.bye is None


@pytest.mark.full
def test_worker_not_there(suite5):
    class Gone(FakeWorker):
        def launch(self, args, env, program):
            super().launch(args, env, ["/usr/bin/env", "SHARD_RUNNER_SOCK=/nowhere/r.sock"] + [
                os.environ.get("SHARD_TEST_PYTHON", "/usr/bin/python3"), "-m", "pytest"])

    fed = suite5.fed(worker=Gone)
    assert fed.rc == 2 and "cannot connect to the worker at /nowhere/r.sock" in fed.output and not fed.stats


# Processes inside tests.

@pytest.mark.full
def test_forked_children(suite):
    suite.write("test_it.py", '''
        import os, subprocess, sys, stat
        def sockets():
            found = []
            for fd in os.listdir("/proc/self/fd"):
                try:
                    if stat.S_ISSOCK(os.stat("/proc/self/fd/" + fd).st_mode):
                        found.append(os.readlink("/proc/self/fd/" + fd))
                except OSError: pass
            return found
        def test_falls_back():
            """The child returns into pytest: it must neither go on with the tests nor tear down."""
            global PID
            PID = os.fork()
            if PID == 0:
                return
            assert os.waitpid(PID, 0)[1] == 0
        def test_falls_back_by_exception():
            pid = os.fork()
            if pid == 0:
                assert 0
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        def test_interrupts():
            pid = os.fork()
            if pid == 0:
                raise KeyboardInterrupt
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
        def test_keeps_no_socket():
            mine = set(sockets())
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(write, repr(len(mine & set(sockets()))).encode())
                os._exit(0)
            os.waitpid(pid, 0)
            assert os.read(read, 10) == b"0" and len(mine) == 1
        def test_inherits_no_socket():
            mine = set(sockets())
            out = subprocess.check_output([sys.executable, "-c", "import os\\nfor f in os.listdir('/proc/self/fd'):\\n"
                " try: print(os.readlink('/proc/self/fd/' + f))\\n except OSError: pass"], close_fds=False).decode()
            assert mine and not [name for name in mine if name in out]
        def test_after(): pass
    '''.replace("os.waitstatus_to_exitcode(", "(lambda status: status >> 8)("))
    fed = suite.fed("-p", "no:rerunfailures", answer=Answer(2))  # which listens on a socket
    assert fed.rc == 0, fed.output
    assert len(fed.results) == 6 and set(fed.statuses.values()) == {"passed"} and fed.kinds().count("bye") == 1


def test_suites_that_run_pytest_do_not_join_the_queue(suite):
    suite.write("conftest.py", 'pytest_plugins = "pytester"\n')
    suite.write("test_it.py", '''
        import os, subprocess, sys
        def test_in_process(pytester):
            pytester.makepyfile("def test_x(): pass\\ndef test_y(): assert 0")
            pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1, failed=1)
        def test_subprocess(pytester):
            pytester.makepyfile("def test_x(): pass")
            pytester.runpytest_subprocess().assert_outcomes(passed=1)
        def test_bare(tmp_path):
            (tmp_path / "test_x.py").write_text("def test_x(): pass")
            subprocess.check_call([sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), str(tmp_path)])
        def test_environment():
            assert not [name for name in os.environ if name.startswith("SHARD_RUNNER")]
            assert os.environ["PYTEST_PLUGINS"] == "shard_recorder"
            assert "plugin" not in os.environ["PYTHONPATH"] and not [p for p in sys.path if p.endswith("/plugin")]
    ''')
    fed = suite.fed(answer=Answer(1))
    assert fed.rc == 0, fed.output
    assert len(fed.results) == len(fed.started) == 4 and set(fed.statuses.values()) == {"passed"}
    assert fed.kinds().count("hello") == fed.kinds().count("bye") == 1


@pytest.mark.full
def test_signals_while_waiting_and_talking(suite):
    """An interval timer whose handler does nothing interrupts every system call there is."""
    suite.write("test_it.py", '''
        import signal, pytest
        signal.signal(signal.SIGALRM, lambda *args: None)
        @pytest.fixture(scope="session", autouse=True)
        def alarms():
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            yield
            signal.setitimer(signal.ITIMER_REAL, 0)
        @pytest.mark.parametrize("n", range(40))
        def test_n(n): pass
    ''')
    fed = suite.fed(answer=Answer(1, "late"))
    assert fed.rc == 0 and len(fed.statuses) == 40 and fed.started == fed.ids


@pytest.mark.full
def test_modules_replaced_by_tests(suite):
    suite.write("test_it.py", '''
        import json, os, select, socket, time, pytest
        @pytest.fixture(scope="session", autouse=True)
        def replaced():
            patch = pytest.MonkeyPatch() if hasattr(pytest, "MonkeyPatch") else None
            patch.setattr(time, "time", lambda: 5)
            patch.setattr(socket, "socket", None)
            patch.setattr(select, "poll", None)
            patch.setattr(json, "loads", None)
            yield
            patch.undo()
        def test_a(): pass
        def test_b(): pass
    ''')
    fed = suite.fed(answer=Answer(1))
    assert fed.rc == 0 and len(fed.results) == 2, fed.output
    assert all(result["start"] > 1e15 for result in fed.results)


# Other plugins.

@pytest.mark.full
@pytest.mark.parametrize("addopts", ["-n 2", "-q -n auto", "--tx 2*popen --dist load", "-n2 --dist loadscope"])
@pytest.mark.plugins
def test_xdist_is_forced_off(suite5, addopts):
    if not has_plugin("xdist"):
        raise AssertionError("python3-pytest-xdist is needed for this test")
    suite5.write("pytest.ini", "[pytest]\naddopts = %s\n" % addopts)
    fed = suite5.fed(answer=Answer(2))
    assert len(fed.results) == 5 and fed.rc == 1 and fed.hello["pid"] > 0
    assert [line for line in fed.output.splitlines() if line.startswith("shard: WARNING: pytest-xdist")]
    assert "bringing up nodes" not in fed.output and not re.search(r"^gw\d|\bgw\d \[", fed.output, re.M)
    suite5.write("pytest.ini", "[pytest]\naddopts = -n 0\n")
    assert "WARNING" not in suite5.fed().output


@pytest.mark.full
@pytest.mark.parametrize("words, by", [("--splits 3 --group 1", "pytest-split"),
                                       ("--splits=3 --group=2", "pytest-split"),
                                       ("--test-group-count 2 --test-group=1", "pytest-test-groups")])
@pytest.mark.parametrize("place", ["command", "addopts"])
def test_a_left_over_division_is_refused(suite5, words, by, place):
    """Whether the plugin is there or not: what it leaves out, nobody would run."""
    suite5.write("conftest.py", "def pytest_addoption(parser):\n    for name in ('--splits', '--group'):\n"
                                "        parser.addoption(name)\n")
    if place == "addopts":
        suite5.write("pytest.ini", "[pytest]\naddopts = %s\n" % words)
    fed = suite5.fed(*(words.split() if place == "command" else []))
    assert fed.rc == 4 and not fed.results
    assert "of %s give each job a fixed part of the tests" % by in fed.output, fed.output


@pytest.mark.full
def test_marks_are_known(suite5):
    suite5.write("pytest.ini", "[pytest]\naddopts = --strict-markers\n")
    suite5.write("test_marked.py", "import pytest\n\n@pytest.mark.serial\ndef test_a():\n    pass\n\n"
                                   "@pytest.mark.shard(tokens='db')\ndef test_b():\n    pass\n")
    fed = suite5.fed()
    assert {"test_marked.py::test_a", "test_marked.py::test_b"} <= set(fed.ids), fed.output
    assert len(fed.results) == len(fed.ids) and "PytestUnknownMarkWarning" not in fed.output


@pytest.mark.full
def test_hello(suite5, runner_version):
    fed = suite5.fed()
    assert fed.messages[0] == fed.hello and fed.hello["proto"] == 1
    assert fed.hello["runner"].startswith("pytest/%d.%d" % runner_version)
