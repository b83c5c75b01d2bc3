"""Fixtures of a session, a package, a module and a class are set up in each worker as often as plain pytest would for
the files that this worker ran."""
import os

import pytest
from shardlib import BARRIER, barrier, codes, eventually, make_suite, outputs, plain_pytest, start_workers, verdicts

COUNTING = BARRIER + '''

def note(what, scope, where):
    with open(os.environ["FIXTURE_NOTES"], "a") as out:
        out.write("%s %s %s\\n" % (what, scope, where))

def counted(scope):
    @pytest.fixture(scope=scope, name=scope + "_thing")
    def fixture(request):
        where = "" if scope == "session" else request.node.nodeid
        note("up", scope, where)
        yield
        note("down", scope, where)
    return fixture

session_thing, package_thing, module_thing, class_thing = map(counted, ["session", "package", "module", "class"])
'''
TESTS = '''
    import time
    import pytest

    @pytest.mark.parametrize("n", range(3))
    def test_module(session_thing, package_thing, module_thing, n):
        time.sleep(0.01)

    class TestClass:
        def test_one(self, class_thing, module_thing):
            pass

        def test_two(self, class_thing):
            pass

    def test_session(session_thing):
        pass
'''
FILES = dict({"conftest.py": COUNTING},
             **{"%s/test_%d.py" % (folder, i): TESTS for folder in ("one", "two") for i in range(5)},
             **{"%s/__init__.py" % folder: "" for folder in ("one", "two")})


def noted(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("by_file", [True, False])
def test_setups_per_worker_are_plain_pytests(tmp_path, daemon, by_file):
    suite = make_suite(tmp_path, FILES)
    count = 3
    together = barrier(tmp_path, count)
    workers = start_workers(count, daemon, suite, args=["--by-file"] if by_file else [],
                            env=lambda i: dict(together, FIXTURE_NOTES=str(tmp_path / ("notes%d" % i))))
    assert codes(workers) == [0] * count, outputs(workers)
    assert set(verdicts(daemon).values()) == {"passed"} and len(verdicts(daemon)) == 60
    shared = set()
    for i, worker in enumerate(workers):
        files = {name.split("::")[0] for name in worker.ran()}
        assert files, "node %d had nothing to do" % i
        if by_file:
            assert not shared & files
            shared |= files
        # Plain pytest, given what this worker ran in its order, sets up as often.
        plain_notes = tmp_path / ("plain%d" % i)
        plain = plain_pytest(suite, *worker.ran(), env={"FIXTURE_NOTES": str(plain_notes)})
        assert plain.code == 0 and list(plain.outcomes) == worker.ran()
        ours, theirs = noted(tmp_path / ("notes%d" % i)), noted(plain_notes)
        assert ours == theirs
        assert ours.count("up session ") == 1
        if by_file:
            ups = [line for line in ours if line.startswith("up module")]
            assert len(ups) == len(files) == len(set(ups))


def test_one_worker_sets_up_as_plain_pytest(tmp_path, daemon):
    suite = make_suite(tmp_path, FILES)
    worker, = start_workers(1, daemon, suite, env={"FIXTURE_NOTES": str(tmp_path / "notes")})
    assert worker.wait() == 0, worker.output()
    plain_pytest(suite, env={"FIXTURE_NOTES": str(tmp_path / "plain")})
    assert sorted(noted(tmp_path / "notes")) == sorted(noted(tmp_path / "plain"))
    assert len(noted(tmp_path / "plain")) == 2 * (1 + 1 + 10 + 10)


PARKED = '''
    import os, time
    import pytest

    @pytest.fixture(scope="session", autouse=True)
    def session_thing():
        yield
        with open(os.environ["FIXTURE_NOTES"], "a") as out:
            out.write("down session\\n")
        assert not os.environ.get("BREAK"), "the session's teardown breaks"

    @pytest.fixture(scope="module", autouse=True)
    def module_thing():
        yield
        with open(os.environ["FIXTURE_NOTES"], "a") as out:
            out.write("down module\\n")
'''
WAITING = '''
    import os, time

    def test_waits():
        open(os.path.join(os.environ["WAITING"], "ready"), "w").close()
        end = time.monotonic() + 240
        while not os.path.exists(os.path.join(os.environ["WAITING"], "go")):
            assert time.monotonic() < end
            time.sleep(0.005)
'''


def test_a_parked_worker_keeps_the_session_and_ends_the_module(tmp_path, daemon):
    """One worker holds a test for long; the other, which may still get it, waits with its session's fixtures alive."""
    suite = make_suite(tmp_path, {"conftest.py": BARRIER + PARKED.replace("\n    ", "\n"), "test_a.py": WAITING,
                                  "test_b.py": "def test_b(): pass\n"})
    together = barrier(tmp_path, 2)
    workers = start_workers(2, daemon, suite, env=lambda i: dict(
        together, FIXTURE_NOTES=str(tmp_path / ("notes%d" % i)), WAITING=str(tmp_path)))
    paths = [tmp_path / "notes0", tmp_path / "notes1"]
    eventually(lambda: any("down module" in noted(path) for path in paths) and (tmp_path / "ready").exists())
    assert not any("down session" in noted(path) for path in paths)
    assert all(worker.running() for worker in workers)
    (tmp_path / "go").touch()
    assert codes(workers) == [0, 0]
    assert [noted(path) for path in paths] == [["down module", "down session"]] * 2


def test_a_session_whose_teardown_breaks_fails_its_worker(tmp_path, daemon):
    suite = make_suite(tmp_path, {"conftest.py": BARRIER + PARKED.replace("\n    ", "\n"), "test_a.py": WAITING,
                                  "test_b.py": "def test_b(): pass\n"})
    (tmp_path / "go").touch()
    plain = plain_pytest(suite, env={"FIXTURE_NOTES": os.devnull, "WAITING": str(tmp_path), "BREAK": "1"})
    assert plain.code == 1
    worker, = start_workers(1, daemon, suite,
                            env={"FIXTURE_NOTES": os.devnull, "WAITING": str(tmp_path), "BREAK": "1"})
    assert worker.wait() == 1 and "the session's teardown breaks" in worker.output()
    assert daemon.shard("wait").returncode == 1
