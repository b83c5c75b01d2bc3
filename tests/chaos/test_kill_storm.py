"""Short runs of the storms of SIGKILL (kill.py, syscalls.py), and that their end check finds what it is there for."""
import re
import shutil
import sqlite3
import subprocess
import sys

import kill
import pytest
import queuecheck
import shardlib
from proxy import Ledger, Proxy
from wire import Wire, WireTimeout, kind

HERE = shardlib.ROOT / "tests/chaos"


def run(script, *args):
    return subprocess.run([sys.executable, str(HERE / script), *map(str, args), str(shardlib.BUILD_DIR)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=200,
                          env=shardlib.clean_env())


def test_killed_again_and_again():
    done = run("kill.py", "--rounds", 40)
    assert done.returncode == 0 and re.search(r": 0 lost, 0 unexpected;", done.stdout), done.stdout
    assert sum(map(int, re.findall(r"(\d+) (?:daemon|worker)s", done.stdout))) == 40, done.stdout


def test_killed_at_system_calls():
    if shutil.which("strace") is None:
        pytest.fail("strace is missing: make deps DEPS=test")
    done = run("syscalls.py", "--every", 17)
    if done.returncode == 77:
        print(done.stdout)
        pytest.skip("NOT TESTED: SIGKILL at system calls. " + done.stdout.strip())
    assert done.returncode == 0 and ", 0 results lost, 0 files damaged" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def stormed(tmp_path_factory):
    """A storm whose one build is over, and its database, closed."""
    storm = kill.Storm(tmp_path_factory.mktemp("storm"), 3, 2)
    storm.run(4)
    return storm


@pytest.mark.parametrize("harm", [
    "DELETE FROM result WHERE test=(SELECT min(test) FROM result)",
    "UPDATE result SET status=2 WHERE test=(SELECT min(test) FROM result)",
    "UPDATE result SET worker=worker+1000 WHERE test=(SELECT max(test) FROM result)",
    "INSERT INTO result SELECT build, test, attempt+9, worker+1000, 1, 4, 1, 1, 1, 1, 1 FROM result LIMIT 1",
    "UPDATE result SET flags=0 WHERE test=(SELECT min(test) FROM result)",
    "UPDATE build SET passed=passed-1",
    "UPDATE build SET state=4",
], ids=["gone", "changed", "another's", "from nowhere", "unsettled", "miscounted", "incomplete"])
def test_the_check_finds(stormed, tmp_path, harm):
    database = tmp_path / "harmed.db"
    shutil.copy(stormed.daemon.database, database)
    queuecheck.check(database, stormed.ledger, "b1", stormed.expected())
    with sqlite3.connect(database) as db:
        assert db.execute(harm).rowcount >= 1
    db.close()
    with pytest.raises(AssertionError):
        queuecheck.check(database, stormed.ledger, "b1", stormed.expected())


def next_lease(wire):
    """(number, tests) of the next lease, which may have to run out in another's hands first; (0, []): the build is
    over."""
    wire.send(lease_request={})
    for _ in range(200):
        try:
            frame = wire.expect("lease", "drained", timeout=0.05, skip=("ack", "parked", "revoke"))
            return (frame.lease.lease, list(frame.lease.test)) if kind(frame) == "lease" else (0, [])
        except WireTimeout:
            wire.send(heartbeat={})
    raise AssertionError("neither a lease nor an end")


def run_out(daemon, other):
    other.send(heartbeat={})
    return daemon.json("status", "--project", "wire", "--build", "b")[0]["leased"] == 0


def reported_twice(folder, over):
    """(database, ledger) of a build of which one test is reported twice: by a slow worker, too, when its lease has run
    out and another has settled the test, or when the build is over."""
    ids, ledger = [b"a", b"b"], Ledger()
    with shardlib.Daemon(folder, lease_ttl="300ms", heartbeat="100ms") as daemon, \
            Proxy("unix:%s/p" % folder, daemon.address, hear=ledger) as proxy, \
            Wire(proxy.address) as slow, Wire(proxy.address) as other:
        for node, wire in enumerate((slow, other)):
            wire.hello(build="b", node=str(node), node_total=1, policy=dict(linger_us=60_000_000))
            wire.list(ids)
        late, (test, *_) = next_lease(slow)
        shardlib.eventually(lambda: run_out(daemon, other), what="the slow worker's lease runs out")
        own, tests = next_lease(other)
        assert tests == [test]
        while own:
            other.wait_ack(other.results(own, tests))
            if not over and test in tests:
                slow.wait_ack(slow.results(late, [test]))
            own, tests = next_lease(other)
        if over:
            slow.wait_ack(slow.results(late, [test]))
        assert daemon.stop() == 0
    return daemon.database, ledger


def test_the_check_finds_a_lost_attempt_of_a_settled_test(tmp_path):
    """That a test has its verdict excuses nobody for another result that was acknowledged and is gone."""
    database, ledger = reported_twice(tmp_path, over=False)
    expected = {"a": 1, "b": 1}
    found = queuecheck.check(database, ledger, "b", expected)
    assert (found.sent, found.acked, found.late, found.lost) == (3, 3, 0, 0)
    with sqlite3.connect(database) as db:
        assert db.execute("DELETE FROM result WHERE attempt=2 AND flags & 1 = 0").rowcount == 1
    db.close()
    with pytest.raises(AssertionError, match="lost: "):
        queuecheck.check(database, ledger, "b", expected)


def test_the_check_excuses_what_comes_after_the_end(tmp_path):
    found = queuecheck.check(*reported_twice(tmp_path, over=True), "b", {"a": 1, "b": 1})
    assert (found.sent, found.acked, found.late, found.lost) == (3, 3, 1, 0)
