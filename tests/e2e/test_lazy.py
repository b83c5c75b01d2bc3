"""--collect lazy: workers behind the first import only the files of which they get tests, and all comes out as with
full collection. What the adapter does for it is in adapter/test_adapter_lazy.py, what the server in
test_list_request.py."""
import collections
import os
import signal
import subprocess

import pytest
from shardlib import (BARRIER, PROJECT, PYTEST, SHARD, attempts, barrier, clean_env, codes, eventually, junit,
                      junit_cases, make_suite, outputs, plain_pytest, ran_again, settling, start_workers, verdicts)

LAZY = ["--collect", "lazy"]
MIXED = ["--allow-mixed", "environment"]
# The first line of a test file: notes who imports it. With a gate, the import waits for it.
NOTING = "import noting; noting.note(__file__)\n"
NOTE = '''
import os, time

def note(path):
    name = os.path.relpath(path, os.path.dirname(__file__)).replace(os.sep, ".")
    folder = os.environ.get("IMPORTS")
    if folder:
        open(os.path.join(folder, "%d.%s" % (os.getpid(), name)), "w").close()
    end = time.monotonic() + 240
    while folder and os.path.exists(os.path.join(folder, "gate." + name)):
        assert time.monotonic() < end, "nobody opens the gate"
        time.sleep(0.005)
'''
MANY = '''
    import time, unittest
    import pytest

    @pytest.fixture(scope="module", autouse=True)
    def thing():
        time.sleep(0.01)

    @pytest.mark.parametrize("n", ["a b", "é", "x/y::z"])
    def test_n(n):
        time.sleep(0.01)

    class TestOne(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.one = 1

        def test_one(self):
            assert self.one

        @unittest.skip("not now")
        def test_two(self):
            pass
'''
ODD = {
    "test_skipped.py": NOTING + "import pytest\npytest.skip('as a whole', allow_module_level=True)\n",
    "test_bad.py": NOTING + "import pytest\ndef test_fails():\n    print('said')\n    assert 0\n"
                            "@pytest.fixture\ndef bad(): raise ValueError('bad')\ndef test_error(bad): pass\n"
                            "@pytest.mark.xfail\ndef test_xfail(): assert 0\ndef test_1(): pass\n",
    "README.txt": ">>> 2 * 2\n4\n",
    "pytest.ini": "[pytest]\naddopts = --doctest-glob=*.txt\n",
    "conftest.py": BARRIER + "def pytest_collection_modifyitems(items):\n    items.sort(key=lambda item: item.name)\n",
}


def write(tmp_path, files, name="suite"):
    return make_suite(tmp_path, dict({"noting.py": NOTE}, **files), name)


def imports(tmp_path):
    """A new folder for who imports what, as the variable that names it."""
    folder = tmp_path / ("imports%d" % len(list(tmp_path.glob("imports*"))))
    folder.mkdir()
    return {"IMPORTS": str(folder)}


def imported(env):
    """{pid: paths of files, with dots between folders}"""
    found = collections.defaultdict(set)
    for name in os.listdir(env["IMPORTS"]):
        pid, _, name = name.partition(".")
        if pid.isdigit():
            found[int(pid)].add(name)
    return found


def pid_of(worker):
    pids = {note["pid"] for note in worker.notes()}
    assert len(pids) == 1, worker.notes()
    return pids.pop()


def lazy_workers(n, daemon, suite, env, args=(), **options):
    return start_workers(n, daemon, suite, env=env, args=LAZY + list(args), **options)


def test_four_workers_equal_one_plain_run(tmp_path, daemon):
    files = {"%stest_%d.py" % (folder, i): NOTING + MANY.replace("\n    ", "\n")
             for folder in ("", "pkg/", "pkg/sub/") for i in range(4)}
    suite = write(tmp_path, dict(files, **ODD, **{"pkg/__init__.py": "", "pkg/sub/__init__.py": ""}))
    plain = plain_pytest(suite)
    env = dict(imports(tmp_path), **barrier(tmp_path, 4))
    workers = lazy_workers(4, daemon, suite, env, args=["--retries", "1"])
    assert sorted(codes(workers))[-1] == 1 == plain.code, outputs(workers)
    assert verdicts(daemon) == plain.outcomes
    assert junit(daemon, tmp_path / "merged.xml") == plain.junit
    assert daemon.shard("wait").returncode == 1
    text = junit_cases(tmp_path / "merged.xml")["test_bad::test_fails"].element.find("failure").text
    assert "assert 0" in text and "said" in text

    found = imported(env)
    first = [worker for worker in workers if "collected" in worker.output()]
    assert len(first) == 1 and len(found.pop(pid_of(first[0]))) == 12 + 2
    leased = collections.defaultdict(set)
    for name, rows in attempts(daemon).items():
        for row in rows:
            leased[row["node"]].add(row["file"].replace("/", "."))
    for worker in workers:
        if worker is not first[0]:
            assert worker.ran() or leased[worker.node], "node %s had nothing to do" % worker.node
            assert found[pid_of(worker)] == leased[worker.node] - {"README.txt"}
            assert "files of tests, each is imported when its first test comes" in worker.output()


def test_comes_out_as_full_collection_does(tmp_path, daemon):
    """The same suite, one build each way: what the server keeps of them differs in nothing but times and nodes."""
    suite = write(tmp_path, dict(ODD, **{"test_%d.py" % i: NOTING + MANY.replace("\n    ", "\n") for i in range(3)}))
    for build in ("full", "lazy"):
        env = imports(tmp_path)
        codes(start_workers(2, daemon, suite, env=dict(env, **barrier(tmp_path, 2)), build=build,
                            args=["--collect", build]))

    def kept(build):
        found = attempts(daemon, build)
        assert ran_again(found, 2) == {}
        return [(name, [(row["status"], row["file"], bool(row["text"])) for row in settling(rows)])
                for name, rows in found.items()]

    assert kept("full") == kept("lazy") and len(kept("full")) > 15


# ---- who makes the list

def begin_with_collector(tmp_path, daemon, files, count=3, **options):
    """A first worker that hangs in the import of test_a.py, behind a gate; and others that wait for its list."""
    suite = write(tmp_path, files)
    env = imports(tmp_path)
    gate = tmp_path / os.path.basename(env["IMPORTS"]) / "gate.test_a.py"
    gate.touch()
    first, = lazy_workers(1, daemon, suite, dict(env))
    eventually(lambda: imported(env), what="the first worker collects")
    others = [lazy_workers(1, daemon, suite, dict(env), node=str(i))[0] for i in range(1, count)]
    for other in others:
        eventually(lambda: "each is imported when" in other.output(), what="node %s waits" % other.node)
    return first, others, gate, env


TWO = {"test_a.py": NOTING + "def test_a(): pass\n", "test_b.py": NOTING + "def test_b(): pass\n"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_collector_ends_before_its_list(tmp_path, daemon, how):
    first, others, gate, env = begin_with_collector(tmp_path, daemon, TWO)
    first.kill() if how == signal.SIGKILL else first.signal(how)
    for other in others:
        eventually(lambda: "collecting all" in other.output(), what="node %s is asked to collect" % other.node)
    gate.unlink()
    first.wait()
    assert codes(others) == [0, 0], outputs(others)
    assert verdicts(daemon) == {"test_a.py::test_a": "passed", "test_b.py::test_b": "passed"}
    assert daemon.shard("wait").returncode == 0
    assert [imported(env)[pid] for pid in map(pid_of, others)] == [{"test_a.py", "test_b.py"}] * 2


def test_daemon_killed_while_workers_wait_for_the_list(tmp_path, daemon):
    first, others, gate, _ = begin_with_collector(tmp_path, daemon, TWO, count=2)
    daemon.restart()
    gate.unlink()
    assert codes([first] + others) == [0, 0], outputs([first] + others)
    assert set(verdicts(daemon).values()) == {"passed"} and len(verdicts(daemon)) == 2


@pytest.mark.parametrize("args, expected", [([], [2, 2, 2]), (["--continue-on-collection-errors"], [0, 0, 1])])
def test_collection_errors_end_as_with_full_collection(tmp_path, daemon, args, expected):
    """Without the option nobody has a list, and each worker says why. With it the first tells of the error."""
    suite = write(tmp_path, dict(TWO, **{"test_bad.py": "import nothing_of_that_name\n"}))
    workers = lazy_workers(3, daemon, suite, imports(tmp_path), command=PYTEST + args)
    assert sorted(codes(workers)) == expected, outputs(workers)
    told = [worker for worker in workers if "nothing_of_that_name" in worker.output()]
    assert len(told) == (1 if args else 3) and (not args or told[0].wait() == 1)
    assert args or all("pytest could not collect the tests (1 errors, see above)" in w.output() for w in workers)
    assert not args or daemon.shard("wait").returncode == 1


def test_no_tests_at_all(tmp_path, daemon):
    suite = write(tmp_path, {})
    workers = lazy_workers(2, daemon, suite, imports(tmp_path))
    assert codes(workers) == [5, 5], outputs(workers)


def test_another_run_of_a_job_imports_what_it_runs_again(tmp_path, daemon):
    sick = NOTING + "import os\ndef test_sick(): assert os.environ.get('WELL')\n"
    suite = write(tmp_path, dict(TWO, **{"test_sick.py": sick}))
    worker, = lazy_workers(1, daemon, suite, imports(tmp_path), args=["--attempt", "1"])
    assert worker.wait() == 1
    env = dict(imports(tmp_path), WELL="1")
    again, = lazy_workers(1, daemon, suite, env, args=["--attempt", "2"])
    assert again.wait() == 0, again.output()
    assert imported(env) == {pid_of(again): {"test_sick.py"}} and again.ran() == ["test_sick.py::test_sick"]
    assert daemon.shard("wait").returncode == 0


def test_late_worker_imports_nothing(tmp_path, daemon):
    suite = write(tmp_path, TWO)
    assert lazy_workers(1, daemon, suite, imports(tmp_path))[0].wait() == 0
    env = imports(tmp_path)
    late, = lazy_workers(1, daemon, suite, env, node="7", args=["--attempt", "x"])
    assert late.wait() == 0 and not imported(env) and not late.ran(), late.output()


def test_a_new_interpreter_after_a_crash_imports_what_is_left(tmp_path, daemon):
    crash = NOTING + "import os\ndef test_crash(): os._exit(9)\n"
    suite = write(tmp_path, dict(TWO, **{"test_crash.py": crash}))
    env = imports(tmp_path)
    worker, = lazy_workers(1, daemon, suite, env)
    assert worker.wait() == 1, worker.output()
    assert verdicts(daemon) == {"test_a.py::test_a": "passed", "test_b.py::test_b": "passed",
                                "test_crash.py::test_crash": "crashed"}
    found = sorted(imported(env).values(), key=len)
    assert len(found[-1]) == 3 and len(found) >= 2 and all(len(files) < 3 for files in found[:-1])


# ---- a file that is not as the list says

def two_checkouts(tmp_path, daemon, files, args=()):
    """A first worker, in a test of test_a.py until the second ends, whose checkout has other `files`. What test_b.py
    holds stands in a file that is not one of tests, as for tests made from data: no digest tells the difference."""
    files = {name.replace("test_b.py", "b.txt"): text for name, text in files.items()}
    waits = NOTING + '''
import os, time

def test_a():
    open(os.path.join(os.environ["IMPORTS"], "waits"), "w").close()
    end = time.monotonic() + 240
    while not os.path.exists(os.path.join(os.environ["IMPORTS"], "go")):
        assert time.monotonic() < end
        time.sleep(0.005)
'''
    reads = "import os\nexec(open(os.path.join(os.path.dirname(__file__), 'b.txt')).read())\n"
    both = {"test_a.py": waits, "test_b.py": reads, "b.txt": "def test_1(): pass\ndef test_2(): pass\n"}
    one, other = write(tmp_path, both, "one"), write(tmp_path, dict(both, **files), "other")
    env = imports(tmp_path)
    first, = lazy_workers(1, daemon, one, dict(env), args=["--total", "2"])
    place = tmp_path / os.path.basename(env["IMPORTS"])
    eventually((place / "waits").exists, what="the first worker is in its test")
    second, = lazy_workers(1, daemon, other, dict(env), node="1", args=args)
    second.wait()
    (place / "go").touch()
    return first, second


@pytest.mark.parametrize("text, told", [
    ("def test_1(): pass\n", ["- test_b.py::test_2"]),
    ("def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass\n", ["+ test_b.py::test_3"]),
    ("def test_1(): pass\ndef test_9(): pass\n", ["- test_b.py::test_2", "+ test_b.py::test_9"]),
    ("", ["- test_b.py::test_1", "- test_b.py::test_2"]),
    ("import pytest\npytest.skip('here', allow_module_level=True)\n", ["- test_b.py::test_1", "+ test_b.py"]),
], ids=["less", "more", "other", "gone", "skipped"])
def test_mismatch_in_one_file(tmp_path, daemon, text, told):
    first, second = two_checkouts(tmp_path, daemon, {"test_b.py": text})
    output = second.output()
    assert second.wait() == 16, output
    assert "shard: test_b.py holds other tests here than in the build's list:" in output
    for line in told:
        assert '\n  %s "%s"\n' % tuple(line.split()) in output, output
    assert "Usual causes:" in output and "(- only there, + only here.)" in output
    assert first.wait() == 0, first.output()
    assert set(verdicts(daemon).values()) == {"passed"} and len(verdicts(daemon)) == 3
    assert {row["node"] for rows in attempts(daemon).values() for row in rows} == {"0"}


def test_import_error_in_one_checkout(tmp_path, daemon):
    """With full collection that worker would end with 2, as pytest does."""
    first, second = two_checkouts(tmp_path, daemon, {"test_b.py": "import nothing_of_that_name\n"})
    assert second.wait() == 2 and "pytest could not collect the tests (1 errors, see above)" in second.output()
    assert "No module named 'nothing_of_that_name'" in second.output()
    assert first.wait() == 0 and set(verdicts(daemon).values()) == {"passed"}


def test_import_that_does_not_end(tmp_path, daemon):
    first, second = two_checkouts(tmp_path, daemon, {"test_b.py": "import time\ntime.sleep(600)\n"},
                                  args=["--start-timeout", "10s"])
    assert second.wait() == 16 and "had not imported test_b.py in time (--start-timeout)" in second.output()
    assert first.wait() == 0 and set(verdicts(daemon).values()) == {"passed"}


def test_interpreter_that_dies_in_an_import(tmp_path, daemon):
    first, second = two_checkouts(tmp_path, daemon, {"test_b.py": "import os\nos._exit(3)\n"})
    assert second.wait() == 16 and "the test process ended while it imported test_b.py" in second.output()
    assert first.wait() == 0 and set(verdicts(daemon).values()) == {"passed"}


def test_two_lists(tmp_path, daemon):
    """One that finds no file has collected all, which is nothing: that differs too."""
    first, second = two_checkouts(tmp_path, daemon, {"pytest.ini": "[pytest]\npython_files = nothing_of_that_name\n"})
    assert second.wait() == 16 and "collected other tests than" in second.output(), second.output()
    assert first.wait() == 0


def test_a_wrapper_that_hides_the_wish(tmp_path, daemon):
    """The second session has not heard that it may be lazy: it collects all, which is the same list."""
    suite = write(tmp_path, TWO)
    env = imports(tmp_path)
    first, = lazy_workers(1, daemon, suite, dict(env))
    assert first.wait() == 0
    again, = lazy_workers(1, daemon, suite, dict(env), args=["--attempt", "2", "--on-retry", "all"] + MIXED,
                          command=["env", "-u", "SHARD_RUNNER_COLLECT"] + PYTEST)
    assert again.wait() == 0 and "collected 2 tests" in again.output(), again.output()


# ---- where it is set

def test_shard_local_passes_it_on(tmp_path):
    suite = write(tmp_path, TWO)
    for number, (flags, variables, settings) in enumerate([
            (LAZY, {}, ""), ([], {"SHARD_COLLECT": "lazy"}, ""), ([], {}, "collect: lazy\n"),
            (["--collect", "full"], {"SHARD_COLLECT": "lazy"}, "")]):
        (suite / "shard.yml").write_text(settings)
        env = clean_env(IMPORTS=str(tmp_path), **variables)
        done = run_local(suite, ["-n", "2", "--history", str(tmp_path / "h"), *flags], env)
        assert done.returncode == 0, done.stderr
        assert ("each is imported" in done.stdout) == (number < 3), done.stdout


def run_local(suite, args, env):
    return subprocess.run([SHARD, "local", "-p", PROJECT, *args, "--", *PYTEST], cwd=str(suite), env=env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
