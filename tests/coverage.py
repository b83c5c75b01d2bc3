#!/usr/bin/python3
"""Branches taken by the tests, per part and per file: coverage.py BUILDDIR, after tests ran on a build with --coverage.

Counts what gcov says of the pure core, the protocol and the store. Branches that only an assertion takes are left out:
no test may take them. Called by `make coverage`.
"""
import collections
import gzip
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import check_includes

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORE = "|".join(sorted(check_includes.PURE))  # as the rules of inclusion have it
PARTS = {"core": r"server/(%s)[a-z_]*\.c" % CORE, "proto": r"proto/[a-z_]+\.c",
         "store": r"server/(store|schema|rows)[a-z_]*\.c"}
TARGET = 0.90


def branches(build):
    """{file: (taken, all)} of branches, lines with an assertion left out."""
    counts = collections.defaultdict(lambda: [0, 0])
    data = sorted(pathlib.Path(build).resolve().glob("obj/**/*.gcda"))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcov", "--branch-probabilities", "--json-format", *map(str, data)], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in pathlib.Path(folder).glob("*.gcov.json.gz"):
            for entry in json.loads(gzip.open(path).read())["files"]:
                add(counts, entry)
    return counts


def assertions(lines):
    """The numbers of all lines that are part of an assertion."""
    found, inside = set(), False
    for number, line in enumerate(lines, 1):
        inside = inside or re.match(r"\s*(static_)?assert\(", line) is not None
        if inside:
            found.add(number)
        inside = inside and not line.rstrip().endswith(";")
    return found


def add(counts, entry):
    name = entry["file"].removeprefix(str(ROOT) + "/")
    if not any(re.fullmatch(pattern, name) for pattern in PARTS.values()):
        return
    asserting = assertions((ROOT / name).read_text().splitlines())
    for line in entry["lines"]:
        if line["line_number"] in asserting:
            continue
        for branch in line["branches"]:
            counts[name][0] += branch["count"] > 0
            counts[name][1] += 1


def main(argv):
    counts = branches(argv[1])
    below = 0
    for part, pattern in PARTS.items():
        names = sorted(name for name in counts if re.fullmatch(pattern, name))
        taken, every = (sum(counts[name][i] for name in names) for i in (0, 1))
        for name in names:
            print("  %-28s %5d of %5d branches, %3d %%" % (name, *counts[name], 100 * counts[name][0] // max(
                counts[name][1], 1)))
        below += not every or taken < TARGET * every
        print("coverage: %s: %d of %d branches, %.1f %% (target %d %%)" % (
            part, taken, every, 100 * taken / max(every, 1), 100 * TARGET))
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
