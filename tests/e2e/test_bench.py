"""The benchmarks do not rot: each part measures something tiny and leaves its rows, by the keys that the table reads.
Whether a target is met is no matter here. Needs `make bench-programs`, and of the packages only those of the tests."""
import json
import math
import os
import subprocess
import sys

import pytest
from shardlib import BUILD_DIR, PYTHON, ROOT, clean_env

BENCH = ROOT / "tests/bench"
sys.path.insert(0, str(BENCH))
import table  # noqa: E402  pylint: disable=wrong-import-position

PARTS = {
    "overhead": ["overhead.py", "--rounds", "1", "--tests", "40"],
    "load": ["load.py", "--rounds", "1", "--tests", "400", "--seconds", "1", "--many", "2"],
    "memory": ["memory.py", "--tests", "500", "--idle", "5"],
    "start": ["past.py", "start", "--rounds", "1", "--tests", "300", "--builds", "2"],
    "query": ["past.py", "query", "--rounds", "1", "--tests", "300", "--builds", "2"],
    "growth": ["growth.py", "--rounds", "1", "--largest", "800"],
    "makespan-real": ["makespan_real.py", "--rounds", "1", "--sleep", "1", "--many", "0", "--real", "0"],
}
DIFFERENCES = {"overhead-ms"}  # of two times: below zero where the machine does other things as well
# What a tiny run leaves out: real suites, more workers than cores.
OUT = {"makespan-real": {row for part, row, _ in filter(None, table.ROWS) if part == "makespan-real"} - {"real-slow"}}


def run(argv):
    env = clean_env(ROUNDS=None, TESTS=None, BENCH_POLITE="1")
    return subprocess.run([PYTHON, *map(str, argv)], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build folder whose programs are those that were built, so that what a benchmark leaves goes with the test."""
    folder = tmp_path_factory.mktemp("b")
    for name in ("shardd", "shard", "bench"):
        assert (BUILD_DIR / name).exists(), f"{BUILD_DIR / name} is missing: make all bench-programs"
        os.symlink(BUILD_DIR / name, folder / name)
    return folder


@pytest.mark.parametrize("part", PARTS)
def test_part(build, part):
    script, *words = PARTS[part]
    kind = [words.pop(0)] if script == "past.py" else []
    done = run([BENCH / script, *kind, build, build / f"bench-{part}.json", *words])
    assert done.returncode in (0, 1), done.stdout
    rows = table.read(build, part)
    wanted = {row for entry, row, _ in filter(None, table.ROWS) if entry == part}
    assert set(rows) == wanted - OUT.get(part, set())
    for key, row in rows.items():
        assert row["verdict"] in ("met", "machine", "MISSED", "SKIPPED")
        least = -math.inf if key in DIFFERENCES else 0
        assert row["verdict"] == "SKIPPED" or (least < row["figure"] < math.inf and row["target"] > 0)
    assert not list(build.glob("bench-????????")), "a folder of the benchmark was left"


def test_table(tmp_path):
    """Every verdict has its exit code, and a row without a figure is not passed over."""
    def leave(part, rows):
        (tmp_path / f"bench-{part}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def row(key, verdict="met", figure=1.0, why=""):
        return dict(bench="x", row=key, what=key, figure=figure, target=2.0, unit="x", at_least=False, verdict=verdict,
                    why=why)

    for part in {entry[0] for entry in filter(None, table.ROWS)} - set(table.READERS):
        leave(part, [row(key) for entry, key, _ in filter(None, table.ROWS) if entry == part])
    scenarios = [key for part, key, _ in filter(None, table.ROWS) if part == "makespan-virtual"]
    leave("makespan-virtual", [dict(scenario=name, ratio=1.0, target=1.02, met=True) for name in scenarios])
    collect = dict(rows=[dict(cpu=dict(ratio=0.9), first_test=dict(ratio=1.0))], targets=dict(cpu=1.0, first_test=1.05))
    leave("collect", [collect])
    assert run([BENCH / "table.py", tmp_path]).returncode == 0
    leave("query", [row("slow", "machine", 3.0, "the machine was asleep"), row("flaky")])
    done = run([BENCH / "table.py", tmp_path])
    assert done.returncode == 0 and "missed because of the machine: the machine was asleep" in done.stdout
    leave("query", [row("slow")])
    done = run([BENCH / "table.py", tmp_path])
    assert done.returncode == 3 and "NOT RUN" in done.stdout
    leave("query", [row("slow"), row("flaky", "MISSED", 3.0)])
    assert run([BENCH / "table.py", tmp_path]).returncode == 1
    assert [entry["verdict"] for entry in json.loads((tmp_path / "bench.json").read_text())].count("MISSED") == 1
    leave("makespan-virtual", [dict(scenario=name, ratio=1.5, target=1.02, met=False) for name in scenarios])
    assert run([BENCH / "table.py", tmp_path]).stdout.count("MISSED") == len(scenarios) + 2
