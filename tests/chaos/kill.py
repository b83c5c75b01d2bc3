#!/usr/bin/python3
"""SIGKILL of the daemon and of workers, round after round, during real builds with the real programs.

    kill.py [--rounds N] [--seed S] [--workers W] [--sync-ms N] BUILDDIR

A build's tests are a shell script that reports by TAP; now and then a victim is drawn and killed with all it started,
and another takes its place. The workers speak through a proxy that only listens, so that what was acknowledged is
known. Half of the daemons die as soon as an Ack is heard, and a sync of their disk takes --sync-ms: what is said before
it is kept is lost then. After each build the rule of queuecheck.py is applied. Called by `make kill` and by
test_kill_storm.py. A seed repeats the choices, not the machine's timing.
"""
import argparse
import collections
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

TESTS = 160
SCRIPT = """n=0
for id; do
  n=$((n + 1))
  sleep 0.003
  case $id in *f) echo "not ok $n - $id" ;; *) echo "ok $n - $id" ;; esac
done
echo "1..$n"
"""
ACK_LIMIT_S = 0.3


class Storm:
    """A daemon, a proxy before it, and builds of which nobody lives long."""

    def __init__(self, folder, seed, workers, faults=None, tcp=False, sync_ms=0, limit_s=120):
        import proxy
        import shardlib
        self.lib, self.rng, self.width, self.limit_s = shardlib, random.Random(seed), workers, limit_s
        self.folder = pathlib.Path(folder)
        self.ids = ["t%03d%s" % (i, "f" if i % 40 == 7 else "") for i in range(TESTS)]
        (self.folder / "ids").write_text("\n".join(self.ids) + "\n")
        (self.folder / "tests.sh").write_text(SCRIPT)
        self.daemon = shardlib.Daemon(self.folder, lease_ttl="600ms", heartbeat="200ms")
        if sync_ms:
            self.daemon.env.update(LD_PRELOAD=str(shardlib.BUILD_DIR / "chaos/shim.so"), SHIM_PROGRAM="shardd",
                                   SHIM_SYNC_MS=str(sync_ms))
        self.daemon.start()
        self.ledger = proxy.Ledger()
        self.address = "tcp://127.0.0.1:%d" % proxy.free_port() if tcp else "unix:%s/p" % self.folder
        self.proxy = proxy.Proxy(self.address, self.daemon.address, hear=self.ledger, faults=faults)
        self.kills, self.nodes, self.builds = collections.Counter(), 0, 0
        self.found = collections.Counter()

    def expected(self):
        return {name: 2 if name.endswith("f") else 1 for name in self.ids}

    def start_worker(self, build):
        self.nodes += 1
        # With a history of such short tests one worker takes them all, and has nothing to say meanwhile.
        suite = build if self.builds % 4 else "known"
        env = self.lib.clean_env(SHARD_SERVER=self.address, SHARD_PROJECT="p", SHARD_SUITE=suite, SHARD_BUILD=build,
                                 SHARD_NODE="n%d" % self.nodes, SHARD_ATTEMPT="1", SHARD_TOTAL=str(self.width))
        argv = [self.lib.SHARD, "run", "--runner", "command", "--results", "tap", "--list-file", "ids", "--",
                "sh", "tests.sh"]
        return self.lib.Process(argv, self.folder / ("out-%d" % self.nodes), env, cwd=self.folder)

    def kill_one(self, build, workers):
        if self.rng.random() < 0.3:
            self.kills["daemon"] += 1
            self.kill_daemon()
            return
        victim = self.rng.randrange(len(workers))
        if not workers[victim].running():
            return
        self.kills["worker"] += 1
        workers[victim].kill()
        workers[victim] = self.start_worker(build)

    def kill_daemon(self):
        if self.rng.random() < 0.5:
            self.ledger.heard.clear()
            self.ledger.heard.wait(ACK_LIMIT_S)
            self.daemon.process.signal(signal.SIGKILL)  # without a look for children, which takes time
        self.daemon.restart()

    def build(self, rounds):
        """One build under at most that many kills."""
        self.builds += 1
        name, end = "b%d" % self.builds, time.monotonic() + self.limit_s
        workers = [self.start_worker(name) for _ in range(self.width)]
        rounds = sum(self.kills.values()) + min(rounds, self.rng.randrange(5, 40))
        while all(worker.running() for worker in workers):
            assert time.monotonic() < end, "build %s does not end:\n%s" % (name, self.daemon.log()[-3000:])
            time.sleep(self.rng.uniform(0.005, 0.12))  # the pace of the storm; nothing is waited for
            if sum(self.kills.values()) < rounds:
                self.kill_one(name, workers)
        codes = [worker.wait() for worker in workers]
        assert set(codes) <= {0, 1}, (codes, [worker.output()[-2000:] for worker in workers])
        self.check(name)
        for path in self.folder.glob("out-*"):
            path.unlink()

    def check(self, name):
        import queuecheck
        found = queuecheck.check(self.daemon.database, self.ledger, name, self.expected())
        self.found.update(found._asdict())

    def run(self, rounds):
        with self.proxy:
            while sum(self.kills.values()) < rounds:
                self.build(rounds - sum(self.kills.values()))
            self.daemon.stop()

    def say(self):
        kills = ", ".join("%d %ss" % (count, kind) for kind, count in sorted(self.kills.items()))
        return ("kill: %s killed in %d builds; %d results sent, %d acknowledged: %d lost, %d unexpected; %d came after "
                "the end, %d tests called crashed" % (kills, self.builds, *(
                    self.found[key] for key in ("sent", "acked", "lost", "unexpected", "late", "poisoned"))))


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 32))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sync-ms", type=int, default=20)
    parser.add_argument("builddir")
    args = parser.parse_args(argv[1:])
    os.environ["SHARD_BUILD_DIR"] = os.path.abspath(args.builddir)
    import shardlib
    print("kill: seed %d" % args.seed, flush=True)
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        storm = Storm(folder, args.seed, args.workers, sync_ms=args.sync_ms)
        try:
            storm.run(args.rounds)
        finally:
            print(storm.say(), flush=True)
            shardlib.end_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
