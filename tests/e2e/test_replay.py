"""The order in which a worker ran, printed and run again; and the test that breaks another one, found by halving it."""
import pytest
from shardlib import BUILD, PYTEST, Worker, codes, eventually, make_suite, run_workers

STATE = "dirty = set()\n"
QUIET = "import state\nimport pytest\n@pytest.mark.parametrize('i', range(%d))\ndef test_quiet(i): pass\n"


def suite_of(tmp_path, victim, polluters=("one",)):
    """Innocent tests, among them those that leave something behind, and last the one that minds."""
    files = {"state.py": STATE, "conftest.py": ""}
    for number, name in enumerate(("a", "b", "c")):
        text = QUIET % 4
        if number < len(polluters):
            text += "def test_pollutes(): state.dirty.add(%r)\ndef test_after(): pass\n" % polluters[number]
        files["test_%s.py" % name] = text
    files["test_z.py"] = "import state\ndef test_before(): pass\ndef test_victim(): assert not (%s)\n" % victim
    return make_suite(tmp_path, files)


def bisect(daemon, suite, *args, test="test_z.py::test_victim", code=0):
    done = daemon.shard("bisect", BUILD, test, *args, "--", *PYTEST, cwd=str(suite))
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def test_replay(daemon, tmp_path):
    suite = suite_of(tmp_path, "state.dirty")
    workers = run_workers(2, daemon, suite)
    assert sorted(codes(workers)) in ([0, 1], [0, 0])
    numbers = {row["node"]: row["worker"] for row in daemon.json("workers")}
    for worker in workers:
        args = ["replay", BUILD, "--worker", numbers[worker.node]]
        order = worker.ran()
        if not order:
            assert "reported no test" in daemon.shard(*args).stderr
            continue
        done = daemon.shard(*args)
        assert (done.returncode, done.stdout.splitlines()) == (0, order), done.stderr
        until = order[len(order) // 2]
        assert daemon.shard(*args, "--until", until).stdout.splitlines() == order[:len(order) // 2 + 1]
        again = Worker(daemon, suite, subcommand="replay", args=args[1:] + ["--until", until])
        assert again.wait() == 0, again.output()
        assert again.ran() == order[:len(order) // 2 + 1]
        assert "%d tests, 0 failed" % len(again.ran()) in again.output()
    assert daemon.shard("replay", BUILD).returncode == 2
    assert "did not run" in daemon.shard(*args, "--until", "none").stderr or not order
    assert daemon.shard("replay", "no-build", "--worker", "0").returncode == 2


@pytest.mark.parametrize("victim, polluters", [
    ("'two' in state.dirty", ["one", "two"]), ("len(state.dirty) == 2", ["one", "two"])])
def test_bisect_finds_the_polluters(daemon, tmp_path, victim, polluters):
    suite = suite_of(tmp_path, victim, polluters)
    assert [worker.wait() for worker in run_workers(1, daemon, suite)] == [1]
    found = bisect(daemon, suite).stdout.splitlines()
    needed = "b" if "two" in victim else "ab"
    assert found[0] == "test_z.py::test_victim"
    assert found[2:] == ["  test_%s.py::test_pollutes" % name for name in needed]
    done = daemon.shard("replay", BUILD, "--worker", "0", "--", *PYTEST, cwd=str(suite))
    assert done.returncode == 1 and "18 tests, 1 failed" in done.stderr


def test_bisect_says_why_not(daemon, tmp_path):
    suite = suite_of(tmp_path, "state.dirty")
    assert [worker.wait() for worker in run_workers(1, daemon, suite)] == [1]
    assert "did not fail" in bisect(daemon, suite, test="test_a.py::test_after", code=2).stderr
    assert "did not run" in bisect(daemon, suite, "--worker", "7", code=2).stderr
    (suite / "test_a.py").write_text("def test_other(): pass\n")
    assert "passes here in the order" in bisect(daemon, suite, code=1).stderr
    (suite / "test_z.py").write_text("def test_victim(): assert 0\n")
    assert "fails by itself" in bisect(daemon, suite, code=1).stderr
    (suite / "test_z.py").write_text("def test_none(): assert 0\n")
    assert "not in this checkout" in bisect(daemon, suite, code=2).stderr
    assert "is missing" in daemon.shard("bisect", BUILD, "x").stderr


def test_bisect_of_commands(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "".join("t%02d\n" % i for i in range(20)),
                                  "run.sh": "case $1 in t06) touch dirty;; t15) test ! -e dirty;; esac"})
    args = ["--runner", "command", "--list-file", "list"]
    command = ["sh", "run.sh", "{}"]
    assert Worker(daemon, suite, args=args, command=command).wait() == 1
    (suite / "run.sh").write_text("case $1 in t06) touch dirty;; t15) ! test -e dirty || { rm dirty; exit 1; };; esac")
    (suite / "dirty").unlink()
    done = daemon.shard("bisect", BUILD, "t15", *args, "--", *command, cwd=str(suite))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == ["  t06"]


def test_a_signal_ends_it(daemon, tmp_path):
    suite = make_suite(tmp_path, {"test_a.py": "import os, time\ndef test_a():\n    if 'HANG' in os.environ:\n"
                                               "        open('began', 'w').close(); time.sleep(60)\n"})
    assert [worker.wait() for worker in run_workers(1, daemon, suite)] == [0]
    again = Worker(daemon, suite, subcommand="replay", args=[BUILD, "--worker", "0"], env={"HANG": "1"})
    eventually((suite / "began").exists)
    again.signal(15)
    assert again.wait() == 128 + 15
