#!/usr/bin/python3
"""The end of make bench: a row for each target of the design with its figure and its verdict, from the JSON that the
parts have left in BUILD/bench-*.json; the same in one file, BUILD/bench.json.

    table.py BUILD

Ends with 1 when a target was missed, else with 3 when a row has no figure (its part was not run, could not measure,
or was skipped), else with 0. A row that was missed because of the machine says so, with what was measured of that in
the same run.
"""
import json
import pathlib
import sys

from benchlib import number

# The part that measures it, the key of the row there, and what it is; what stands before a bar is the table of the
# design, the rest what it does not name.
ROWS = [
    ("makespan-virtual", "warm", "makespan / lower bound, N=8, warm history"),
    ("makespan-virtual", "file set-ups", "… with set-ups of files"),
    ("makespan-virtual", "one worker 2x slow", "… one worker twice as slow"),
    ("makespan-virtual", "late, uneven, a death", "… late joiners and a death"),
    ("makespan-virtual", "32 workers", "… N=32"),
    ("makespan-virtual", "process of 1 s a lease", "… a process of 1 s per lease"),
    ("makespan-virtual", "first run ever", "… first run ever"),
    ("overhead", "overhead", "worker overhead on trivial pytest tests / plain pytest"),
    ("overhead", "overhead-ms", "… more per test"),
    ("load", "cpu", "lease of 20 + 20 results, CPU of the loop / beanstalkd per test"),
    ("load", "latency-1000", "p99 lease latency, persistence on, 1,000 workers"),
    ("load", "latency-10000", "… 10,000 workers"),
    ("load", "sustained", "results acknowledged after fsync, sustained"),
    ("load", "peak", "… at peak / bare SQLite"),
    ("memory", "memory", "memory of a million queued tests"),
    ("memory", "idle", "memory of an idle connection"),
    ("start", "start", "start beside 10 million results, 50,000 tests"),
    ("start", "start-running", "… with all of them in a build to recover"),
    ("query", "slow", "slow over 10 million results"),
    ("query", "flaky", "flaky over 10 million results"),
    None,
    ("makespan-real", "real-networkx-local-xdist", "networkx: shard local -n 2 / best of xdist"),
    ("makespan-real", "real-networkx-run-xdist", "… shardd and two shard run"),
    ("makespan-real", "real-networkx-static-count", "… shard local -n 2 / static split by count"),
    ("makespan-real", "real-passlib-local-xdist", "passlib: shard local -n 2 / best of xdist"),
    ("makespan-real", "real-passlib-run-xdist", "… shardd and two shard run"),
    ("makespan-real", "real-passlib-static-count", "… shard local -n 2 / static split by count"),
    ("makespan-real", "real-slow", "real processes, one of two 2x slow / lower bound"),
    ("makespan-real", "real-many", "8 workers on fewer cores / best of xdist"),
    ("growth", "growth-submit", "500,000 tests / 62,500, per test: submit"),
    ("growth", "growth-run", "… run"),
    ("growth", "growth-report", "… report"),
    ("collect", "cpu", "--collect lazy / full: CPU"),
    ("collect", "first_test", "… the last worker's first test"),
]
WIDTH = 66


def plain(figure, target):
    met = figure <= target
    return dict(figure=figure, target=target, unit="x", at_least=False, verdict="met" if met else "MISSED", why="")


def read_rows(text):
    """The rows of a Report of benchlib.py."""
    lines = [json.loads(line) for line in text.splitlines()]
    return {line["row"]: line for line in lines if "row" in line}


def read_scenarios(text):
    """The scenarios of makespan.c."""
    lines = [json.loads(line) for line in text.splitlines()]
    return {line["scenario"]: plain(line["ratio"], line["target"]) for line in lines}


def read_collect(text):
    """The worst ratio of each figure of collect.py that has a target."""
    whole = json.loads(text)
    return {what: plain(max(row[what]["ratio"] for row in whole["rows"]), target)
            for what, target in whole["targets"].items()}


READERS = {"makespan-virtual": read_scenarios, "collect": read_collect}


def read(build, part):
    """{key: row} of a part; nothing when it left nothing."""
    path = build / f"bench-{part}.json"
    return READERS.get(part, read_rows)(path.read_text()) if path.exists() else {}


def find(build):
    """The rows of the table with what was found of each; None stands for a line across."""
    parts = {part: read(build, part) for part in dict.fromkeys(entry[0] for entry in ROWS if entry)}
    missing = dict(verdict="NOT RUN", why="its part left no figure")
    return [entry and dict(parts[entry[0]].get(entry[1], missing), bench=entry[0], row=entry[1], title=entry[2])
            for entry in ROWS]


def line(row):
    """A row for people: what, figure, target, verdict."""
    if "figure" not in row:
        return f"{row['title']:<{WIDTH}} {'-':>10} {'':>10}  {row['verdict']}: {row['why']} (make bench-{row['bench']})"
    sign, unit = "≥" if row["at_least"] else "≤", row["unit"].strip()
    verdict = f"missed because of the machine: {row['why']}" if row["verdict"] == "machine" else row["verdict"]
    return (f"{row['title']:<{WIDTH}} {number(row['figure']) + ' ' + unit:>10} {sign} {number(row['target']):<8}  "
            f"{verdict}")


def main(build):
    rows = find(build)
    print(f"{'':<{WIDTH}} {'figure':>10} {'target':<10}  verdict")
    for row in rows:
        print(line(row) if row else "")
    rows = [row for row in rows if row]
    (build / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
    count = {verdict: sum(row["verdict"] == verdict for row in rows)
             for verdict in ("met", "machine", "MISSED", "SKIPPED", "NOT RUN")}
    print("\n%d rows: %s" % (len(rows), ", ".join(f"{n} {verdict}" for verdict, n in count.items() if n)))
    if count["MISSED"]:
        return 1
    return 3 if count["SKIPPED"] or count["NOT RUN"] else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])) if len(sys.argv) == 2 else __doc__)
