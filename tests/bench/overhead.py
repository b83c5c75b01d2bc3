#!/usr/bin/python3
"""make bench-overhead: what 2,000 trivial pytest tests cost through a real shard worker and a real shardd on a Unix
socket beside plain pytest. Pairs run back to back, who is first alternates, and the verdict is on the median of their
ratios.

    overhead.py BUILD JSON [--pairs 9] [--tests 2000]

Ends with 1 when the target of the design is missed, 2 when a run is not what it should be.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TARGET, TARGET_MS = 1.25, 0.12
FILES = 20
LIMIT_S = 300
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def make_suite(folder, tests):
    for number in range(FILES):
        share = tests // FILES + (number < tests % FILES)
        (folder / f"test_{number:02}.py").write_text("".join(f"def test_{n}():\n    pass\n\n\n" for n in range(share)))


def clean_env(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHARD", "PYTEST_", "CI"))}
    return dict(kept, PYTHONDONTWRITEBYTECODE="", **more)


def start_daemon(build, place):
    """shardd on a socket of its own, with its database on the disk of the folder; returns when it listens."""
    socket = place / "s"
    daemon = subprocess.Popen([str(build / "shardd"), "--listen", f"unix:{socket}", "--database", str(place / "db")],
                              env=clean_env(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > end:
            sys.exit("bench-overhead: shardd does not start")
        time.sleep(0.01)
    return daemon, f"unix:{socket}"


def timed(command, suite, env, tests):
    """Wall seconds of one run that has to pass all tests."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=suite, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
    took = time.perf_counter() - begin
    if done.returncode != 0 or f"{tests} passed" not in done.stdout.decode(errors="replace"):
        print(done.stdout.decode(errors="replace")[-2000:], file=sys.stderr)
        print(f"bench-overhead: ended with {done.returncode}: {' '.join(command)}", file=sys.stderr)
        sys.exit(2)
    return took


def measure(args, suite, server):
    """A pair of wall seconds (plain, shard) per round; the first round, which warms caches, is left out."""
    pairs = []
    for number in range(args.pairs + 1):
        def plain():
            return timed(PYTEST, suite, clean_env(), args.tests)

        def shard():
            command = [str(args.build / "shard"), "run", "--build", f"b{number}", "--node", "0", "--project", "bench",
                       "--", *PYTEST]
            return timed(command, suite, clean_env(SHARD_SERVER=server), args.tests)

        if number % 2:
            pairs.append((plain(), shard()))
        else:
            pairs.append((shard(), plain())[::-1])
    return pairs[1:]


def report(args, pairs):
    ratio = statistics.median(shard / plain for plain, shard in pairs)
    plain_s, shard_s = (statistics.median(side) for side in zip(*pairs))
    extra_ms = statistics.median(shard - plain for plain, shard in pairs) / args.tests * 1000
    met = ratio <= TARGET
    print(f"{args.tests} trivial tests, {len(pairs)} pairs, medians: plain pytest {plain_s:.3f} s, "
          f"one shard worker {shard_s:.3f} s, {extra_ms:.3f} ms more per test (aim {TARGET_MS})")
    print(f"overhead {ratio:.3f}x, target {TARGET}x: {'met' if met else 'MISSED'}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"tests": args.tests, "pairs": pairs, "plain_s": plain_s, "shard_s": shard_s,
                                     "extra_ms_per_test": extra_ms, "ratio": ratio, "target": TARGET, "met": met},
                                    indent=1) + "\n")
    return 0 if met else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("json", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--tests", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        suite = place / "suite"
        suite.mkdir()
        make_suite(suite, args.tests)
        daemon, server = start_daemon(args.build, place)
        try:
            pairs = measure(args, suite, server)
        finally:
            daemon.terminate()
            daemon.wait(LIMIT_S)
    return report(args, pairs)


if __name__ == "__main__":
    sys.exit(main())
