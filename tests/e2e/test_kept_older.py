"""Files of results that version 0.1.0 left: kept_0.1.0/ was written by that version. A job alone was killed in the
second of its two tests (killed), or while its session ended (killed-at-its-end), or its test process ended with
status 3 after its last test (broken)."""
import shutil

import pytest
import shardlib
from keeplib import kept, spool, submit
from shardlib import Worker, make_suite, verdicts
from wire import Wire, pb

FILES = shardlib.ROOT / "tests/e2e/kept_0.1.0"
TWO = "def test_slow(): pass\ndef test_last(): pass\n"
ONE = "def test_it(): pass\n"


def handed_over(away, tmp_path, name):
    spool(tmp_path).mkdir()
    shutil.copy(FILES / (name + ".spool"), spool(tmp_path))
    away.options["idle_timeout"] = "500ms"
    away.start()
    done = submit(away, tmp_path)
    assert done.returncode == 0 and "handed over" in done.stderr and not kept(tmp_path), done.stderr


def waits(daemon, *args):
    """(exit code, words); a build without all its verdicts is given up first."""
    done = daemon.shard("wait", *args)
    return done.returncode, done.stdout + done.stderr


def run_again(away, tmp_path, tests, **options):
    worker = Worker(away, make_suite(tmp_path, {"test_a.py": tests}), **options)
    assert worker.wait() == 0, worker.output()
    return worker.ran()


def test_killed(away, tmp_path):
    """That it was killed is no failure of its test process: what it had passed is, and the rest is left to run."""
    handed_over(away, tmp_path, "killed")
    assert verdicts(away) == {"test_a.py::test_slow": "passed", "test_a.py::test_last": "missing"}
    assert waits(away)[0] == 16
    assert run_again(away, tmp_path, TWO, node="1", args=["--retried", "no"]) == ["test_a.py::test_last"]
    assert waits(away)[0] == 0


def test_killed_at_its_end(away, tmp_path):
    """Nobody knows how that went: an error, until the tests have run again."""
    handed_over(away, tmp_path, "killed-at-its-end")
    assert verdicts(away) == {"test_a.py::test_it": "passed"}
    code, said = waits(away)
    assert code == 1 and "an error outside of any test" in said, said
    assert run_again(away, tmp_path, ONE, args=["--retried", "yes", "--attempt", "2"]) == ["test_a.py::test_it"]
    assert waits(away)[0] == 0


def test_broken(away, tmp_path):
    """Its test process did fail."""
    handed_over(away, tmp_path, "broken")
    assert set(verdicts(away).values()) == {"passed"}
    code, said = waits(away)
    assert code == 16 and "a test process failed, or was stopped, after it had run tests" in said, said
    assert len(run_again(away, tmp_path, TWO, args=["--retried", "yes", "--attempt", "2"])) == 2
    assert waits(away)[0] == 0


@pytest.mark.parametrize("brings, text, code", [
    (True, "its results could not be handed over", 0),
    (True, "the test process ended between tests: exit status 3", 16),
    (False, "killed while the server was away", 16),
])
def test_words_of_its_bye(make_daemon, brings, text, code):
    """Only a worker that brings results says those words of something else than its own test process."""
    daemon, of_build = make_daemon(idle_timeout="500ms"), ("--project", "wire", "--build", "1")
    with Wire(daemon.address) as wire, Wire(daemon.address) as other:
        wire.hello(node="0", brings=brings)
        wire.list(["a", "b"])
        wire.send(lease_request=pb.LeaseRequest(claim=[0] if brings else []))
        lease = wire.expect("lease").lease
        wire.wait_ack(wire.results(lease.lease, list(lease.test)[:1]))
        wire.send(bye=pb.Bye(reason=pb.BYE_FAILED, text=text.encode()))
        wire.expect("goodbye", skip=("ack",))
        assert waits(daemon, *of_build)[0] == 16, "one test has no verdict"
        other.hello(node="1", retried=pb.RETRIED_NO)
        other.list(["a", "b"])
        lease = other.lease().lease
        assert list(lease.test) == [1]
        other.wait_ack(other.results(lease.lease, [1]))
        other.send(bye=pb.Bye(reason=pb.BYE_DONE))
        assert other.expect("goodbye", skip=("ack", "drained")).goodbye.exit_code == 0
    assert waits(daemon, *of_build)[0] == code
