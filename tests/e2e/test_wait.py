"""`shard wait` waits no longer than it says: for a build that never was, a server that hangs, another database."""
import os
import signal

from shardlib import BUILD, Process, SHARD, Worker, clean_env, eventually, make_suite
from wire import Wire, pb


def waiting(daemon, tmp_path, *args, **env):
    """A `shard wait` in the background."""
    variables = clean_env(SHARD_SERVER=daemon.address, SHARD_PROJECT="project", SHARD_BUILD=BUILD, **env)
    return Process([SHARD, "wait", *args], tmp_path / "waiting", variables, tmp_path)


def test_a_build_that_never_was(daemon):
    done = daemon.shard("wait", "--build", "never", "--start-timeout", "1s", timeout=20)
    assert done.returncode == 16, done.stderr
    assert "no worker has joined build never within 1.00s (--start-timeout)" in done.stderr, done.stderr


def test_an_empty_suite_matches_no_build(daemon, tmp_path):
    """A build of another suite goes on: it is not the one that is waited for."""
    suite = make_suite(tmp_path, {"test_a.py": "import time\ndef test_one(): time.sleep(600)"})
    worker = Worker(daemon, suite)
    eventually(worker.ran, what="the test runs")
    done = daemon.shard("wait", "--suite", "other", "--start-timeout", "1s", timeout=20)
    assert done.returncode == 16 and "no worker has joined" in done.stderr, done.stderr
    done = daemon.shard("wait", "--start-timeout", "1s", env={"SHARD_PROJECT": "other"}, timeout=20)
    assert done.returncode == 16 and "no worker has joined" in done.stderr, done.stderr


def test_the_newest_when_there_is_none_yet(daemon, tmp_path):
    """Without a key it waits for the first build that comes, to its end."""
    wait = waiting(daemon, tmp_path, "--build", "")
    eventually(lambda: "no such build yet" in wait.output(), what="it waits")
    with Wire(daemon.address) as wire:
        wire.hello(project="project", node="0")
        assert wire.list(["t"]).want == pb.LIST_OK
        wire.wait_ack(wire.results(wire.lease().lease.lease, [0]))
        wire.send(bye=pb.Bye(reason=pb.BYE_DONE))
        assert wire.expect("goodbye", skip=("drained",)).goodbye.exit_code == 0
    assert wait.wait(20) == 0, wait.output()


def test_goodbye_is_said_once_on_a_connection(daemon):
    """Making it looks at all tests and skips. Who has not heard it comes again."""
    with Wire(daemon.address) as wire:
        session = wire.hello(project="project", node="0").session
        assert wire.list(["t"]).want == pb.LIST_OK
        wire.wait_ack(wire.results(wire.lease().lease.lease, [0]))
        for _ in range(100):
            wire.send(bye=pb.Bye(reason=pb.BYE_DONE))
        assert wire.expect("goodbye", skip=("drained",)).goodbye.exit_code == 0
        wire.send(bye=pb.Bye(reason=pb.BYE_DONE))
        for _ in range(2):  # what waits for the disk is said at the end of a turn
            wire.send(heartbeat=pb.Heartbeat())
            wire.expect("ack")
    with Wire(daemon.address) as wire:
        wire.hello(project="project", node="0", session=session)
        wire.send(bye=pb.Bye(reason=pb.BYE_DONE))
        assert wire.expect("goodbye").goodbye.settled == 1


def test_another_database_behind_the_server(daemon, tmp_path):
    """The server comes back and knows nothing of the build: that is noticed, not waited for."""
    suite = make_suite(tmp_path, {"test_a.py": "import time\ndef test_one(): time.sleep(600)"})
    worker = Worker(daemon, suite)
    eventually(worker.ran, what="the test runs")
    wait = waiting(daemon, tmp_path, "--start-timeout", "2s")
    eventually(lambda: "0/1" in wait.output(), what="it has seen the build")
    worker.kill()
    daemon.kill()
    daemon.options["database"] = str(tmp_path / "other.db")
    daemon.start()
    assert wait.wait(30) == 16 and "no worker has joined" in wait.output(), wait.output()


def test_a_server_that_hangs(daemon, tmp_path):
    suite = make_suite(tmp_path, {"test_a.py": "import time\ndef test_one(): time.sleep(600)"})
    worker = Worker(daemon, suite)
    eventually(worker.ran, what="the test runs")
    wait = waiting(daemon, tmp_path, "--server-timeout", "1s", "--connect-timeout", "1s")
    eventually(lambda: "0/1" in wait.output(), what="it has seen the build")
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        assert wait.wait(30) == 16, wait.output()
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
