#!/usr/bin/python3
"""Builds over connections that are delayed, trickle, stall beyond a lease, are cut, reset and half closed.

    chaos.py [--seconds N] [--seed S] [--workers W] [--limit S] BUILDDIR

The storm of kill.py, with faults of the proxy in the place of most kills; the same rule at the end of each build.
Called by `make chaos` and test_chaos.py.
"""
import argparse
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
ODDS = {"delay": 0.15, "dribble": 0.1, "stall": 0.004, "cut": 0.01, "reset": 0.01, "half": 0.006}
KILLS_A_BUILD = 2


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 32))
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--limit", type=float, default=120, help="seconds that a build may take")
    parser.add_argument("builddir")
    args = parser.parse_args(argv[1:])
    os.environ["SHARD_BUILD_DIR"] = os.path.abspath(args.builddir)
    import kill
    import proxy
    import shardlib
    print("chaos: seed %d" % args.seed, flush=True)
    faults = proxy.Faults(args.seed, stall_s=1.5, **ODDS)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        storm = kill.Storm(folder, args.seed, args.workers, faults=faults, tcp=True, limit_s=args.limit)
        end = time.monotonic() + args.seconds
        try:
            with storm.proxy:
                while time.monotonic() < end:
                    storm.build(KILLS_A_BUILD)
                storm.daemon.stop()
        finally:
            print("chaos: " + ", ".join("%d × %s" % (faults.done[kind], kind) for kind in ODDS))
            print(storm.say(), flush=True)
            shardlib.end_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
