#!/usr/bin/python3
"""make bench-overhead: what 2,000 trivial pytest tests cost through a real shard worker and a real shardd on a Unix
socket, and through one worker of pytest-xdist, beside plain pytest.

    overhead.py BUILD JSON [--rounds 9] [--tests 2000]

The three run back to back in each round, who is first changes, and the verdicts are on medians: of the ratio, and of
what a test takes more.
"""
import importlib.util
import sys

from benchlib import Daemon, Others, PYTEST, arguments, clean_env, main, median, timed

TARGET, TARGET_MS = 1.25, 0.12
FILES = 20


def make_suite(folder, tests):
    folder.mkdir()
    for number in range(FILES):
        share = tests // FILES + (number < tests % FILES)
        (folder / f"test_{number:02}.py").write_text("".join(f"def test_{n}():\n    pass\n\n\n" for n in range(share)))


def measure(args, suite, server):
    """A dict of wall seconds by way for each round; the first round, which warms caches, is left out."""
    env = clean_env(PYTHONDONTWRITEBYTECODE="")
    rounds = []
    for number in range(args.rounds + 1):
        shard = [args.build / "shard", "run", "--build", f"b{number}", "--node", "0", "--project", "bench", "--"]
        ways = {"plain": PYTEST, "shard": [*shard, *PYTEST], "xdist": [*PYTEST, "-n", "1"]}
        if importlib.util.find_spec("xdist") is None:
            del ways["xdist"]
        order = sorted(ways, key=lambda way: (list(ways).index(way) + number) % len(ways))
        took = {way: timed(ways[way], suite, dict(env, SHARD_SERVER=server), args.tests)[0] for way in order}
        rounds.append(took)
    return rounds[1:]


def overhead(args, place):
    suite = place.file("suite")
    make_suite(suite, args.tests)
    others = Others()
    with Daemon(place) as daemon:
        rounds = measure(args, suite, daemon.address)
    machine = others.excuse()
    print(f"{args.tests} trivial tests, medians of {len(rounds)} rounds: "
          + ", ".join(f"{way} {median(each[way] for each in rounds):.3f} s" for way in rounds[0]), flush=True)

    def ratio(way):
        return median(each[way] / each["plain"] for each in rounds)

    def more_ms(way):
        return median(each[way] - each["plain"] for each in rounds) / args.tests * 1000

    if "xdist" in rounds[0]:
        args.report.sample(case="xdist -n 1", ratio=ratio("xdist"), more_ms=more_ms("xdist"))
        print(f"one worker of pytest-xdist: {ratio('xdist'):.3f}x, {more_ms('xdist'):.3f} ms more per test")
    else:
        print("SKIPPED: xdist: python3-pytest-xdist is not installed (tests/deps.sh bench)")
    args.report.sample(case="rounds", tests=args.tests, rounds=rounds)
    args.report.row("overhead", f"worker overhead on {args.tests:,} trivial pytest tests, against plain pytest",
                    ratio("shard"), TARGET, "x", machine=machine)
    args.report.row("overhead-ms", "the same, more time per test", more_ms("shard"), TARGET_MS, " ms",
                    machine=machine)


if __name__ == "__main__":
    sys.exit(main(overhead, arguments(__doc__, "overhead", rounds=9, tests=2000)))
