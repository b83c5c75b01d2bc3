"""Memory and descriptors run out in the real programs, at any point of their lives: whoever cannot go on ends with 16
and says why, never by a signal and never green; what was acknowledged is on disk. SHARD_EVERY=N tries each Nth
allocation."""
import errno
import os
import random
import shutil

import pytest
import queuecheck
import shardlib
from proxy import Ledger, Proxy
from shardlib import codes, eventually, outputs, verdicts
from storms import ARGS, IDS, SHORT, SUITE, shim, workers_of

SAMPLES = 25
EVERY = int(os.environ.get("SHARD_EVERY", "0"))
NO_GCOV = pytest.mark.skipif("coverage" in shardlib.BUILD_DIR.name,
                             reason="gcov needs memory, too, when the program ends")


@pytest.fixture
def suite(tmp_path):
    return shardlib.make_suite(tmp_path, SUITE)


def chosen(total):
    """Numbers of the allocations that fail: one of each of the equal parts of a life, or each EVERYth."""
    step = EVERY or total // SAMPLES
    return [begin + random.Random(begin).randrange(step) for begin in range(1, total - step, step)]


def counted(folder, program):
    """(variables that count allocations, how many there were)."""
    path = folder / "count"
    return shim(program, "malloc", SHIM_COUNT=path), lambda: int(path.read_text())


# ---- memory

@NO_GCOV
def test_a_worker_without_memory_is_never_green(tmp_path, suite):
    """0: the allocation was one that its library can do without."""
    daemon = shardlib.Daemon(tmp_path, idle_timeout="300ms", **SHORT).start()
    (suite / "ids").write_text("a\nb\nc\n")
    env, count = counted(tmp_path, "shard")
    worker, = workers_of(daemon, suite, n=1, build="count", env=env)
    assert worker.wait() == 0, worker.output()
    ended = []
    for n in chosen(count()):
        worker, = workers_of(daemon, suite, n=1, build="b%d" % n, env=shim("shard", "malloc", n, number=errno.ENOMEM))
        ended.append(worker.wait(30))
        assert ended[-1] in (0, 16), (n, ended[-1], worker.output())
        if ended[-1] == 0:
            assert set(verdicts(daemon, "b%d" % n).values()) == {"passed"}
        else:
            assert "memory" in worker.output() or "cannot" in worker.output(), (n, worker.output())
    assert 16 in ended


@pytest.fixture
def prepared(tmp_path):
    """The database of a daemon that was started and stopped."""
    with shardlib.Daemon(tmp_path) as daemon:
        assert daemon.stop() == 0
    return daemon.database


def daemon_on(database, folder, fault):
    """A daemon on a copy of the database, with the fault; `healthy` is its environment without."""
    folder.mkdir()
    daemon = shardlib.Daemon(folder, **SHORT)
    shutil.copy(database, daemon.database)
    daemon.healthy, daemon.env = daemon.env, dict(daemon.env, **fault)
    return daemon.start(ready=False)


def served(daemon, suite, folder):
    """A build through the daemon and, when it dies, through the next one: whether it died, and whether it listened
    before. What was acknowledged is on disk."""
    ledger = Ledger()
    with Proxy("unix:%s/p" % folder, daemon.address, hear=ledger) as proxy:
        workers = workers_of(daemon, suite, env={"SHARD_SERVER": proxy.address})
        eventually(lambda: not daemon.running() or not any(worker.running() for worker in workers))
        died, listened = not daemon.running(), "event=listening" in daemon.log()
        if died:
            assert daemon.process.wait() == 16 and ("memory" in daemon.log() or "cannot" in daemon.log()), daemon.log()
            daemon.env = daemon.healthy
            daemon.start()
        assert codes(workers) == [0, 0], outputs(workers)
    code = daemon.stop()
    assert code in (0, 16), daemon.log()
    found = queuecheck.check(daemon.database, ledger, shardlib.BUILD, dict.fromkeys(IDS, 1))
    assert found.lost == found.unexpected == 0
    return died or code == 16, listened


@NO_GCOV
def test_a_daemon_without_memory_ends_and_comes_back(tmp_path, suite, prepared):
    """It has a database, so that most of its allocations are of its service, not of making one."""
    fault, count = counted(tmp_path, "shardd")
    assert served(daemon_on(prepared, tmp_path / "count-all", fault), suite, tmp_path / "count-all") == (False, True)
    ended = []
    for n in chosen(count()):
        folder = tmp_path / ("n%d" % n)
        fault = shim("shardd", "malloc", n, number=errno.ENOMEM)
        ended.append(served(daemon_on(prepared, folder, fault), suite, folder))
        shutil.rmtree(folder)
    serving = sum(died and listened for died, listened in ended)
    assert serving >= len(ended) / 3, ended
    assert any(died and not listened for died, listened in ended), ended


# ---- descriptors

def few_descriptors(tmp_path, count, monkeypatch):
    """Workers have so many descriptors from now on; their tests have as many as ever."""
    path = tmp_path / ("shard-%d" % count)
    path.write_text("#!/bin/sh\nulimit -S -n %d\nexec %s \"$@\"\n" % (count, shardlib.BUILD_DIR / "shard"))
    path.chmod(0o755)
    monkeypatch.setattr(shardlib, "SHARD", str(path))
    return ["sh", "-c", 'ulimit -S -n 256; exec sh tests.sh "$@"', "sh"]


def test_a_worker_without_descriptors_is_never_green(tmp_path, suite, monkeypatch):
    """From what its loader needs to what it has in a whole life."""
    daemon = shardlib.Daemon(tmp_path, idle_timeout="300ms", **SHORT).start()
    (suite / "ids").write_text("a\nb\nc\n")
    ended = {}
    for count in range(4, 20):
        command, build = few_descriptors(tmp_path, count, monkeypatch), "b%d" % count
        worker = shardlib.Worker(daemon, suite, build=build, command=command,
                                 args=[*ARGS, "--connect-timeout", "300ms"])
        ended[count] = worker.wait(30)
        if ended[count] == 0:
            assert verdicts(daemon, build) == {"a": "passed", "b": "passed", "c": "passed"}
        else:
            assert ended[count] == 16 and "Too many open files" in worker.output(), (count, ended, worker.output())
    assert ended[4] == 16 and ended[19] == 0, ended


def test_no_descriptors_for_a_while(tmp_path, suite):
    daemon = shardlib.Daemon(tmp_path, **SHORT)
    daemon.env = dict(daemon.env, **shim("shardd", "accept4", 2, times=3, number=errno.EMFILE))
    daemon.start()
    workers = workers_of(daemon, suite)
    assert codes(workers) == [0, 0], outputs(workers)
