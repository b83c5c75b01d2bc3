"""Short runs of what breaks around the real programs: connections (chaos.py), calls of the C library (shim.c), the wall
clock, time itself, the network."""
import errno
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import queuecheck
import shardlib
from proxy import Faults, Ledger, Proxy
from shardlib import attempts, codes, eventually, make_suite, outputs, start_workers
from storms import IDS, SCRIPT, SHIM, SHORT, SUITE, shim, shimmed_daemon, workers_of
from wire import Wire, kind

HERE = shardlib.ROOT / "tests/chaos"
HOUR_S = 3600


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, SUITE)


def test_spoilt_connections():
    done = subprocess.run([sys.executable, str(HERE / "chaos.py"), "--seconds", "5", str(shardlib.BUILD_DIR)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=200,
                          env=shardlib.clean_env())
    assert done.returncode == 0 and ": 0 lost, 0 unexpected;" in done.stdout, done.stdout
    faults = {kind: int(n) for n, kind in re.findall(r"(\d+) × (\w+)", done.stdout)}
    assert set(faults) == set(Faults.KINDS) and min(faults.values()) >= 1 and sum(faults.values()) > 20, done.stdout


# ---- calls that fail

@pytest.mark.parametrize("call, number, at", [("fdatasync", errno.EIO, 7), ("fdatasync", errno.ENOSPC, 9),
                                              ("pwrite64", errno.EIO, 40), ("pwrite64", errno.EROFS, 60)])
def test_a_disk_that_fails_ends_the_daemon_and_loses_nothing(tmp_path, suite, call, number, at):
    """The next start, with a disk that works, goes on."""
    daemon, ledger = shimmed_daemon(tmp_path, **shim("shardd", call, at, number=number)), Ledger()
    daemon.process.must_live = False
    with Proxy("unix:%s/p" % tmp_path, daemon.address, hear=ledger) as proxy:
        workers = workers_of(daemon, suite, env={"SHARD_SERVER": proxy.address})
        eventually(lambda: not daemon.running() or not all(worker.running() for worker in workers))
        assert daemon.process.wait() == 16 and "cannot" in daemon.log(), daemon.log()
        daemon.env = daemon.healthy
        daemon.start()
        assert codes(workers) == [0, 0], outputs(workers)
    found = queuecheck.check(daemon.database, ledger, shardlib.BUILD, dict.fromkeys(IDS, 1))
    assert found.lost == found.unexpected == 0 and found.acked >= len(IDS) - 2


def test_a_full_disk_is_waited_for(tmp_path, suite):
    daemon, ledger = shimmed_daemon(tmp_path, **shim("shardd", "pwrite64", 50, 4, number=errno.ENOSPC)), Ledger()
    with Proxy("unix:%s/p" % tmp_path, daemon.address, hear=ledger) as proxy:
        workers = workers_of(daemon, suite, env={"SHARD_SERVER": proxy.address})
        assert codes(workers) == [0, 0], outputs(workers) + daemon.log()
    assert "store_full" in daemon.log()
    assert daemon.stop() == 0
    assert queuecheck.check(daemon.database, ledger, shardlib.BUILD, dict.fromkeys(IDS, 1)).lost == 0


# ---- time

LONG = {"test_%d.py" % i: "import time\ndef test_it(): time.sleep(1.2)\n" for i in range(2)}


def runs(daemon):
    return {name: len(rows) for name, rows in attempts(daemon).items()}


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
def test_the_wall_clock_jumps(tmp_path, shift_s):
    clock = tmp_path / "clock"
    clock.write_text("0")
    daemon = shardlib.Daemon(tmp_path, **SHORT)
    daemon.env = dict(daemon.env, LD_PRELOAD=SHIM, SHIM_PROGRAM="shardd", SHIM_CLOCK=str(clock))
    daemon.start()
    workers = start_workers(2, daemon, make_suite(tmp_path, LONG))
    eventually(lambda: all(worker.ran() for worker in workers), what="both tests run")
    clock.write_text(str(shift_s))
    assert codes(workers) == [0, 0], outputs(workers)
    assert runs(daemon) == {"test_0.py::test_it": 1, "test_1.py::test_it": 1}
    with sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True) as db:
        ended_ms, = db.execute("SELECT ended_ms FROM build").fetchone()
    assert abs(ended_ms / 1000 - time.time() - shift_s) < 120, "the shim does not move the clock"


def test_the_daemon_is_stopped_for_three_lease_times(tmp_path, make_daemon):
    daemon = make_daemon(**SHORT)
    workers = start_workers(2, daemon, make_suite(tmp_path, LONG))
    eventually(lambda: all(worker.ran() for worker in workers), what="both tests run")
    os.kill(daemon.pid, signal.SIGSTOP)
    time.sleep(1.8)  # what is tested
    os.kill(daemon.pid, signal.SIGCONT)
    assert codes(workers) == [0, 0], outputs(workers)
    assert runs(daemon) == {"test_0.py::test_it": 1, "test_1.py::test_it": 1}


# ---- a network that is divided

@pytest.fixture
def network():
    """(namespace of the daemon, of the workers, the daemon's host); the link between them is veth-w in the second."""
    one, two = "sd%d" % os.getpid(), "sw%d" % os.getpid()
    steps = ["netns add " + one, "netns add " + two,
             "link add veth-d netns %s type veth peer name veth-w netns %s" % (one, two),
             "-n %s addr add 10.77.0.1/24 dev veth-d" % one, "-n %s addr add 10.77.0.2/24 dev veth-w" % two,
             "-n %s link set veth-d up" % one, "-n %s link set veth-w up" % two]
    try:
        for step in steps:
            if shutil.which("ip") is None or subprocess.run(["ip", *step.split()], stderr=subprocess.PIPE).returncode:
                pytest.skip("NOT TESTED: a divided network. This needs root, and the package iproute2.")
        yield one, two, "10.77.0.1"
    finally:
        for name in (one, two):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)


def test_a_divided_network(tmp_path, suite, network, monkeypatch):
    one, two, host = network
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-the-test-0123456789\n")
    tokens.chmod(0o600)
    daemon = shardlib.Daemon(tmp_path, listen="tcp://%s:4270" % host, token_file=str(tokens), **SHORT)
    plain = daemon.argv
    daemon.argv = lambda: ["ip", "netns", "exec", one, *plain()]
    daemon.start(ready=False)
    eventually(lambda: "event=listening" in daemon.log(), what="the daemon listens")
    monkeypatch.setattr(shardlib, "SHARD", str(tmp_path / "shard-inside"))
    (tmp_path / "shard-inside").write_text("#!/bin/sh\nexec ip netns exec %s %s \"$@\"\n" % (
        two, shardlib.BUILD_DIR / "shard"))
    (tmp_path / "shard-inside").chmod(0o755)
    (suite / "tests.sh").write_text(SCRIPT.replace("0.005", "0.05"))
    workers = workers_of(daemon, suite, env={"SHARD_TOKEN": tokens.read_text().strip()})
    eventually(lambda: any("t0" in worker.output() for worker in workers), what="tests run")
    for state, pause_s in (("down", 1.3), ("up", 0)):  # more than two leases
        subprocess.run(["ip", "-n", two, "link", "set", "veth-w", state], check=True)
        time.sleep(pause_s)
    assert codes(workers) == [0, 0], outputs(workers) + daemon.log()
    state, rows, _ = queuecheck.read(daemon.database, shardlib.BUILD)
    assert state == queuecheck.COMPLETE
    assert {row.name for row in rows if row.flags & 1 and row.status == 1} == set(IDS)


# ---- what is said before it is kept

def test_nobody_is_sent_home_before_the_results_are_on_disk(daemon):
    """A worker that is drained ends its test process. Were it told so on the ground of results that a dying daemon
    takes with it, it could not take up what comes back, and would end with 16."""
    ids = [b"a", b"b"]
    with Wire(daemon.address) as one, Wire(daemon.address) as other:
        for node, wire in enumerate((one, other)):
            wire.hello(build="b", node=str(node), node_total=1)
            wire.list(ids)
        leases = [one.lease().lease, one.lease().lease]
        assert [len(lease.test) for lease in leases] == [1, 1]
        assert kind(other.lease()) == "parked"
        for lease in leases:
            last = one.results(lease.lease, list(lease.test))
        one.send(lease_request={})
        seen = []
        while not seen or seen[-1] != "drained":
            frame = one.recv()
            seen.append(kind(frame) if kind(frame) != "ack" or frame.ack.seq < last else "kept")
        assert "kept" in seen, seen
        other.expect("drained", skip=("parked", "ack"))
