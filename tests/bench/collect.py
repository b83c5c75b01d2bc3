#!/usr/bin/python3
"""make bench-collect: what it saves that workers behind the first import only the files of which they get tests.
--collect full and lazy with N real workers and a real shardd on a Unix socket, over a generated suite whose 60 files
take about 50 ms of computing each to be imported and 100 ms to be run, and over networkx where it is installed. Pairs
run back to back, who is first alternates, and the verdicts are on medians of their ratios.

    collect.py BUILD JSON [--pairs 3] [--workers 2,4] [--files 60] [--import-ms 50] [--networkx-pairs 1]

CPU is that of all workers and their test processes. Time to the first test is that of the worker that comes to it last,
from its start. Ends with 1 when a target is missed, 2 when a run is not what it should be.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

# Both are ratios, lazy over full. The first worker has to import all in any case and the others wait for its list, so
# the first test of these comes as late as before, plus the import of one file, less what the others no longer take
# from it.
TARGETS = {"cpu": 1.0, "first_test": 1.05}
MODES = ("full", "lazy")
LIMIT_S = 600
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
FIRST = '''
import os
import time

PATH = os.environ.pop("BENCH_FIRST", None)


def pytest_runtest_logstart(nodeid, location):
    global PATH
    if PATH:
        with open(PATH, "w") as out:
            out.write(repr(time.monotonic()))
        PATH = None
'''
FILE = '''
import pytest

TOTAL = 0
for number in range(%d):
    TOTAL += number * number %% 7


def spend(count):
    return sum(number * number %% 7 for number in range(count))


@pytest.mark.parametrize("n", range(4))
def test_it(n):
    assert TOTAL and spend(%d)
'''


def rounds_of(milliseconds):
    """How many rounds of the loop in FILE take that long here."""
    begin, rounds = time.process_time(), 400000
    exec(FILE[FILE.index("TOTAL"):FILE.index("def")] % rounds, {})
    return int(rounds * milliseconds / 1000 / (time.process_time() - begin))


def make_suite(folder, files, import_ms):
    folder.mkdir()
    rounds = rounds_of(import_ms)
    for number in range(files):
        (folder / f"test_{number:02}.py").write_text(FILE % (rounds, rounds // 2))


def clean_env(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHARD", "PYTEST_", "CI"))}
    return dict(kept, PYTHONDONTWRITEBYTECODE="", **more)


def start_daemon(build, place):
    socket = place / "s"
    daemon = subprocess.Popen([str(build / "shardd"), "--listen", f"unix:{socket}", "--database", str(place / "db")],
                              env=clean_env(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > end:
            sys.exit("bench-collect: shardd does not start")
        time.sleep(0.01)
    return daemon, f"unix:{socket}"


class Bench:
    def __init__(self, args, place, server):
        self.args, self.place, self.server = args, place, server
        self.builds = 0
        (place / "bench_first.py").write_text(FIRST)

    def start(self, suite, words, mode, node, total):
        env = clean_env(SHARD_SERVER=self.server, BENCH_FIRST=str(self.place / f"first{node}"),
                        PYTHONPATH=str(self.place), PYTEST_PLUGINS="bench_first")
        command = [str(self.args.build / "shard"), "run", "--build", f"b{self.builds}", "--node", str(node), "--total",
                   str(total), "--project", "bench", "--suite", suite.name, "--collect", mode, "--", *PYTEST, *words]
        with open(self.place / f"out{node}", "wb") as out:
            return subprocess.Popen(command, cwd=suite, env=env, stdin=subprocess.DEVNULL, stdout=out,
                                    stderr=subprocess.STDOUT)

    def run(self, suite, words, mode, workers):
        """{cpu, first_test, total} in seconds, of one build."""
        self.builds += 1
        for old in self.place.glob("first[0-9]*"):
            old.unlink()
        begin = time.monotonic()
        started = [self.start(suite, words, mode, node, workers) for node in range(workers)]
        cpu = 0.0
        for node, worker in enumerate(started):
            _, status, usage = os.wait4(worker.pid, 0)
            worker.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
            if worker.returncode != 0:
                print((self.place / f"out{node}").read_text(errors="replace")[-2000:], file=sys.stderr)
                print(f"bench-collect: {mode}: worker {node} ended with {worker.returncode}", file=sys.stderr)
                sys.exit(2)
        total = time.monotonic() - begin
        # One that came too late for any test counts as if its first had been at the end.
        paths = [self.place / f"first{node}" for node in range(workers)]
        firsts = [float(path.read_text()) - begin if path.exists() else total for path in paths]
        return {"cpu": cpu, "first_test": max(firsts), "total": total}

    def pairs(self, suite, words, workers, count):
        """[{mode: figures}]; one run that warms caches goes before and is left out."""
        self.run(suite, words, "full", workers)
        orders = [MODES if number % 2 else MODES[::-1] for number in range(count)]
        return [{mode: self.run(suite, words, mode, workers) for mode in order} for order in orders]


def report(name, workers, pairs):
    """Prints a line for each figure; what goes into the JSON file."""
    row = {"suite": name, "workers": workers, "pairs": pairs, "met": True}
    for what, title in (("cpu", "CPU"), ("first_test", "first test"), ("total", "total")):
        full, lazy = (statistics.median(pair[mode][what] for pair in pairs) for mode in MODES)
        ratio = statistics.median(pair["lazy"][what] / pair["full"][what] for pair in pairs)
        target = TARGETS.get(what)
        verdict = "" if target is None else f", target {target}x: {'met' if ratio <= target else 'MISSED'}"
        row[what] = {"full_s": full, "lazy_s": lazy, "ratio": ratio, "target": target}
        row["met"] = row["met"] and (target is None or ratio <= target)
        print(f"{name}, {workers} workers: {title:<10} full {full:7.2f} s, lazy {lazy:7.2f} s, {ratio:.3f}x{verdict}")
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("json", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=lambda text: [int(word) for word in text.split(",")], default=[2, 4])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--import-ms", type=float, default=50)
    parser.add_argument("--networkx-pairs", type=int, default=1)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        make_suite(place / "imports", args.files, args.import_ms)
        (place / "networkx").mkdir()
        daemon, server = start_daemon(args.build, place)
        try:
            bench = Bench(args, place, server)
            for workers in args.workers:
                rows.append(report("imports", workers, bench.pairs(place / "imports", [], workers, args.pairs)))
            if args.networkx_pairs and importlib.util.find_spec("networkx"):
                pairs = bench.pairs(place / "networkx", ["--pyargs", "networkx"], args.workers[-1],
                                    args.networkx_pairs)
                rows.append(report("networkx", args.workers[-1], pairs))
            elif args.networkx_pairs:
                print("networkx: SKIPPED: it is not installed")
        finally:
            daemon.terminate()
            daemon.wait(LIMIT_S)
    met = all(row["met"] for row in rows)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"rows": rows, "targets": TARGETS, "met": met}, indent=1) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
