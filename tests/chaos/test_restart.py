"""The daemon is killed as a certain message passes, and the message with it: in each phase of a build, of its re-run,
of a build over its bound, and while results are brought. Then it starts again, and all goes on."""
import shutil

import pytest
import queuecheck
import shardlib
from proxy import Broken, Ledger, Proxy
from shardlib import Daemon, attempts, codes, make_suite, outputs, settling, start_workers, verdicts

IDS = ["slow", "bad"] + ["t%02d" % i for i in range(10)]
SCRIPT = '''n=0
for id; do
  n=$((n + 1))
  case $id in slow*) sleep 0.7 ;; *) sleep 0.01 ;; esac
  if [ "$id" = bad ] && [ ! -e good ]; then echo "not ok $n - $id"; else echo "ok $n - $id"; fi
done
echo "1..$n"
'''
COMMAND = ["sh", "tests.sh"]
ARGS = ["--runner", "command", "--results", "tap", "--list-file", "ids"]
OUTCOMES = dict(dict.fromkeys(IDS, "passed"), bad="failed")


class Killer:
    """A hearer for Proxy. Once messages of these kinds have been heard, in this order, the daemon is killed and started
    again; the last of them never arrives."""

    def __init__(self, daemon, *kinds):
        self.daemon, self.kinds, self.ledger = daemon, list(kinds), Ledger()

    def __call__(self, connection, direction, frame):
        self.ledger(connection, direction, frame)
        if not self.kinds or frame.WhichOneof("body") != self.kinds[0]:
            return
        self.kinds.pop(0)
        if not self.kinds:
            self.daemon.restart()
            raise Broken(True)


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, {"ids": "\n".join(IDS) + "\n", "tests.sh": SCRIPT})


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(lease_ttl="2s", heartbeat="100ms")


def run_killed(tmp_path, daemon, suite, n, kinds, command=COMMAND, args=ARGS, **env):
    """n workers through a proxy whose daemon is killed at the last of kinds; returns (the workers, the ledger)."""
    killer = Killer(daemon, *kinds)
    with Proxy("unix:%s/p" % tmp_path, daemon.address, hear=killer) as proxy:
        workers = start_workers(n, daemon, suite, command=command, args=args, env=dict(env, SHARD_SERVER=proxy.address))
        codes(workers)
    assert killer.kinds == [], "this was not heard: %s" % killer.kinds
    return workers, killer.ledger


def check_once(daemon, outcomes):
    found = attempts(daemon)
    assert {name: [row["status"] for row in settling(rows)] for name, rows in found.items()} == {
        name: [status] for name, status in outcomes.items()}
    return found


def check_codes(workers, found):
    """Who decided the failure ends with 1, who decided others with 0. Of one who decided nothing a daemon that was
    restarted cannot tell whether it came when all was over: it may end as the build does."""
    deciders = {row["node"] for rows in found.values() for row in settling(rows)}
    failing = settling(found["bad"])[0]["node"]
    for worker in workers:
        wanted = {1} if worker.node == failing else {0} if worker.node in deciders else {0, 1}
        assert worker.wait() in wanted, outputs(workers)


@pytest.mark.parametrize("kinds", [
    ["hello"], ["welcome"], ["list_offer"], ["list_reply"], ["list_chunk"], ["lease_request"], ["lease"], ["results"],
    ["ack"], ["heartbeat"], ["parked"], ["parked", "heartbeat"], ["drained"], ["bye"], ["goodbye"]], ids="-".join)
def test_in_a_build(tmp_path, daemon, suite, kinds):
    """With and without what the message would have told: between bye and goodbye, with a worker that waits, …"""
    workers, ledger = run_killed(tmp_path, daemon, suite, 2, kinds)
    found = check_once(daemon, OUTCOMES)
    check_codes(workers, found)
    assert daemon.shard("wait").returncode == 1
    statuses = dict(dict.fromkeys(IDS, 1), bad=2)
    assert queuecheck.check(daemon.database, ledger, shardlib.BUILD, statuses).lost == 0


def test_between_the_chunks_of_a_list(tmp_path, daemon, suite):
    """The list is longer than a frame: the daemon has the first half of it, from one who sends it all again."""
    ids = ["%s-%s" % (name, "x" * 3800) for name in ["slow"] + ["t%03d" % i for i in range(330)]]
    (suite / "ids").write_text("\n".join(ids) + "\n")
    workers, ledger = run_killed(tmp_path, daemon, suite, 2, ["list_chunk", "list_chunk"])
    assert codes(workers) == [0, 0], outputs(workers)
    assert queuecheck.check(daemon.database, ledger, shardlib.BUILD, dict.fromkeys(ids, 1)).lost == 0


@pytest.mark.parametrize("kinds", [
    ["hello"], ["welcome"], ["lease_request"], ["lease"], ["results"], ["ack"], ["drained"], ["bye"], ["goodbye"]],
    ids="-".join)
def test_in_a_run_of_what_failed(tmp_path, daemon, suite, kinds):
    first, = start_workers(1, daemon, suite, command=COMMAND, args=ARGS, env={"SHARD_ATTEMPT": "1"})
    assert first.wait() == 1, first.output()
    (suite / "good").touch()
    workers, _ = run_killed(tmp_path, daemon, suite, 1, kinds, SHARD_ATTEMPT="2")
    assert codes(workers) == [0], outputs(workers)
    found = attempts(daemon)
    assert [row["status"] for row in settling(found.pop("bad"))] == ["failed", "passed"]
    assert {len(rows) for rows in found.values()} == {1}, "what had passed has run again"
    assert daemon.shard("wait").returncode == 0


@pytest.mark.parametrize("kinds", [["results"], ["drained"], ["drained", "bye"], ["drained", "goodbye"]], ids="-".join)
def test_over_the_bound_on_failures(tmp_path, daemon, kinds):
    """It stays ended: who comes back is sent home, and all are red although most tests never ran."""
    suite = make_suite(tmp_path, {"ids": "bad\n" + "".join("t%02d\n" % i for i in range(60)),
                                  "tests.sh": "sleep 0.02; [ $1 != bad ]\n"})
    workers, _ = run_killed(tmp_path, daemon, suite, 2, kinds, command=COMMAND + ["{}"],
                            args=["--list-file", "ids", "--max-failures", "1"])
    assert codes(workers) == [1, 1], outputs(workers)
    assert daemon.shard("wait").returncode == 1 and daemon.json("builds")[0]["state"] == "aborted"
    found = verdicts(daemon)
    assert found["bad"] == "failed" and "missing" in found.values()


def test_while_results_are_brought(tmp_path, suite):
    """The file of them stays until all is said; what was taken already is not taken twice."""
    spool = tmp_path / "spool"
    alone, = start_workers(1, Daemon(tmp_path), suite, command=COMMAND, args=ARGS + [
        "--fallback", "static", "--retried", "no", "--total", "1", "--connect-timeout", "100ms", "--spool", str(spool)])
    assert alone.wait() == 1, alone.output()
    written, = spool.iterdir()
    for kind in ("hello", "welcome", "list_offer", "list_reply", "list_chunk", "lease_request", "lease", "results",
                 "ack", "bye", "goodbye"):
        daemon, place = Daemon(tmp_path, lease_ttl="2s", heartbeat="100ms").start(), tmp_path / kind
        place.mkdir()
        shutil.copy(str(written), str(place))
        killer = Killer(daemon, kind)
        with Proxy("unix:%s/p-%s" % (tmp_path, kind), daemon.address, hear=killer) as proxy:
            done = daemon.shard("submit", "--spool", place, env={"SHARD_SERVER": proxy.address})
        assert done.returncode == 16 and "was not handed over" in done.stderr and killer.kinds == [], kind
        assert len(list(place.iterdir())) == 1
        assert daemon.shard("submit", "--spool", place).returncode == 0 and list(place.iterdir()) == []
        assert {len(rows) for rows in check_once(daemon, OUTCOMES).values()} == {1}, kind
        assert daemon.shard("wait").returncode == 1
        daemon.kill()
