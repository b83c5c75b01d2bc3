#!/usr/bin/python3
"""A real suite while its machines die: networkx on ten workers, of which two are killed every few seconds, under a
daemon that is killed every ten.

    kill_real.py [--builds N] [--seed S] [--workers W] [--every SECONDS] BUILDDIR

Whoever is killed is replaced: the daemon on its database, a worker as the next attempt of its job. At the end of each
build every test has exactly one verdict, that of plain pytest, which ran first. Called by `make kill-real`. The builds
must come out so one after the other; the seed repeats the choices, not the machine's timing.
"""
import argparse
import collections
import os
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

COMMAND = ["--pyargs", "networkx"]
DAEMON_EVERY_S, BUILD_LIMIT_S, VICTIMS = 10, 1800, 2


class Killing:
    def __init__(self, args, folder):
        import shardlib
        self.lib, self.args, self.rng = shardlib, args, random.Random(args.seed)
        self.folder = pathlib.Path(folder)
        self.daemon = shardlib.Daemon(self.folder, lease_ttl="3s", heartbeat="500ms").start()
        self.attempts = collections.Counter()

    def start_worker(self, build, node):
        self.attempts[node] += 1
        env = dict(SHARD_ATTEMPT=str(self.attempts[node]), SHARD_TOTAL=str(self.args.workers))
        return self.lib.Worker(self.daemon, self.folder, node=str(node), build=build, env=env, command=self.command(),
                               args=["--collect", "lazy", "--quiet"])

    def command(self):
        return self.lib.PYTEST + COMMAND

    def kill_workers(self, build, workers, kills):
        alive = [node for node, worker in enumerate(workers) if worker.running()]
        for node in self.rng.sample(alive, min(VICTIMS, len(alive))):
            workers[node].kill()
            workers[node] = self.start_worker(build, node)
            kills["worker"] += 1

    def build(self, number):
        """A build until all its workers have ended; what died meanwhile."""
        name, kills = "kill-real-%d" % number, collections.Counter()
        workers = [self.start_worker(name, node) for node in range(self.args.workers)]
        begin = time.monotonic()
        next_workers, next_daemon = begin + self.args.every, begin + DAEMON_EVERY_S
        while any(worker.running() for worker in workers):
            now = time.monotonic()
            if now - begin > BUILD_LIMIT_S:
                sys.exit("kill-real: the build does not end\n" + self.lib.outputs(workers)[-4000:])
            if now >= next_daemon:
                next_daemon += DAEMON_EVERY_S
                self.daemon.restart()
                kills["daemon"] += 1
            if now >= next_workers:
                next_workers += self.args.every
                self.kill_workers(name, workers, kills)
            time.sleep(0.05)
        return name, kills, time.monotonic() - begin

    def check(self, name, plain):
        """What is wrong with the build, a line each."""
        found = self.lib.attempts(self.daemon, name)
        verdicts = self.lib.verdicts(self.daemon, name)
        names = sorted(set(verdicts) | set(plain.outcomes))
        wrong = ["%s: %s, plain pytest has %s" % (test, verdicts.get(test), plain.outcomes.get(test))
                 for test in names if verdicts.get(test) != plain.outcomes.get(test)]
        twice = ["%s: %d verdicts" % (test, len(self.lib.settling(rows)))
                 for test, rows in found.items() if len(self.lib.settling(rows)) != 1]
        code = self.daemon.shard("wait", "--build", name).returncode
        return wrong + twice + (["the build ends with %d, plain pytest with %d" % (code, plain.code)]
                                if code != plain.code else [])

    def run(self):
        plain = self.lib.plain_pytest(self.folder, command=self.command(), timeout=1200)
        print("kill-real: seed %d; plain pytest: %d tests, ends with %d" % (
            self.args.seed, len(plain.outcomes), plain.code), flush=True)
        for number in range(1, self.args.builds + 1):
            name, kills, took = self.build(number)
            wrong = self.check(name, plain)
            print("kill-real: build %d: %d workers and %d daemons killed in %.0f s, %d verdicts, %d wrong" % (
                number, kills["worker"], kills["daemon"], took, len(plain.outcomes), len(wrong)), flush=True)
            if wrong:
                sys.exit("\n".join(wrong[:20] + [self.daemon.shard("report", "--build", name).stdout[-8000:]]))
            if not kills["worker"] or not kills["daemon"]:
                sys.exit("kill-real: nobody died, which shows nothing")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--builds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--every", type=float, default=5)
    args = parser.parse_args()
    os.environ["SHARD_BUILD_DIR"] = str(args.build.resolve())
    with tempfile.TemporaryDirectory(prefix="kill-real-") as folder:
        killing = Killing(args, folder)
        try:
            killing.run()
        finally:
            killing.lib.end_all()


if __name__ == "__main__":
    main()
