#!/usr/bin/python3
"""make thirty-builds: a pytest suite with planted flaky tests and one that breaks, for 30 builds through the real
daemon with two workers each and quarantine: auto. The list is right in the end, builds stay green although flaky tests
fail in them, a broken test is never muted, and an entry that expires gates again. `make check` holds nine builds to the
same (tests/e2e/test_thirty_builds.py), in which chance makes the same tests flaky earlier."""
import collections
import json
import pathlib
import sqlite3
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from shardlib import Daemon, codes, end_all, eventually, make_suite, start_workers  # noqa: E402

# builds by chance, the first of them in which a test is broken, and what the chances are drawn from.
Plan = collections.namedtuple("Plan", "builds breaks seed")
LONG, SHORT = Plan(30, 24, ""), Plan(9, 8, "246 ")
FLAKY = {"tests/test_%d.py::test_by_chance[%d]" % (i, i) for i in range(4)}
BROKEN = "tests/test_0.py::test_breaks"
SUITE = """
import os, pathlib, random
import pytest

BUILD = int(os.environ["PLANTED_BUILD"])

@pytest.mark.parametrize("i", range(20))
def test_sound(i): pass

@pytest.mark.parametrize("i", [%(i)d])
def test_by_chance(i):
    place = pathlib.Path(os.environ["PLANTED_NOTES"]) / ("%%d-%%d" %% (BUILD, i))
    attempt = len(place.read_text()) if place.exists() else 0
    place.write_text("x" * (attempt + 1))
    if "PLANTED" in os.environ:
        assert os.environ["PLANTED"] == "pass"
    else:
        assert random.Random("%(seed)s%%d %%d %%d" %% (BUILD, i, attempt)).random() > 0.35
"""
BREAKS_TEXT = "\ndef test_breaks(): assert not %d <= BUILD <= %d\n"


def run_build(daemon, suite, number, **env):
    """The build's exit code, and its row of `shard wait`."""
    name, notes = "b%02d" % number, suite / "notes"
    notes.mkdir(exist_ok=True)
    env.update(SHARD_COMMIT="c%02d" % number, SHARD_BRANCH="main", PLANTED_BUILD=str(number), PLANTED_NOTES=str(notes))
    found = codes(start_workers(2, daemon, suite, build=name, env=env, args=["--retries", "1"]))
    row, = json.loads(daemon.shard("wait", "--build", name, "--json").stdout)
    assert max(found) == row["exit_code"], (found, row)
    return row["exit_code"], row


def settled(daemon, builds):
    """Waits until that many builds have taught: a sound test then has so many runs."""
    sound = "tests/test_0.py::test_sound[0]"
    eventually(lambda: {row["test"]: row["runs"] for row in daemon.json("slow", "--limit", "200")}.get(sound) == builds,
               timeout=60)


def expire(daemon):
    assert daemon.stop() == 0
    with sqlite3.connect(daemon.database) as db:
        assert db.execute("UPDATE quarantine SET expires_ms=1000").rowcount == len(FLAKY)
    db.close()
    daemon.start()


def run(folder, plan):
    files = {"tests/test_%d.py" % i: SUITE % {"i": i, "seed": plan.seed} for i in range(4)}
    files["tests/test_0.py"] += BREAKS_TEXT % (plan.breaks, plan.builds)
    suite = make_suite(folder, files)
    with Daemon(folder, quarantine="auto") as daemon:
        check(daemon, suite, plan)


def muted(daemon):
    return {entry["test"] for entry in daemon.json("quarantine", "list") if entry["status"] == "muted"}


def check(daemon, suite, plan):
    green = by_chance(daemon, suite, plan)
    assert green > 0, "no build was green although a muted test failed in it"
    rows = daemon.json("flaky")
    assert {row["test"] for row in rows} == FLAKY, rows
    assert {row["state"] for row in rows} == {"flaky"}, rows
    assert [row["test"] for row in daemon.json("broken")] == [BROKEN]
    assert muted(daemon) == FLAKY, "all are in quarantine by themselves"
    refused = daemon.shard("quarantine", "add", BROKEN, "--reason", "x")
    assert refused.returncode == 2 and "broken, not flaky" in refused.stderr, refused
    assert not [row for row in daemon.json("log", "--limit", "1000") if row["test"] == BROKEN and row["new"] == "muted"]
    for_sure(daemon, suite, plan.builds)
    print("flaky, broken and muted as planted; expired entries gated again; %d green builds had muted failures" % green)


def by_chance(daemon, suite, plan):
    """How many builds were green although a muted test failed in them, and said so."""
    green = 0
    for number in range(1, plan.builds + 1):
        code, row = run_build(daemon, suite, number)
        settled(daemon, number)
        entries = muted(daemon)
        print("build %2d: exit %d, failing %d, flaky %d, muted %d; in quarantine %d" % (
            number, code, row["failing"], row["flaky"], row["muted"], len(entries)))
        assert entries <= FLAKY
        green += code == 0 and row["muted"] > 0
        if number >= plan.breaks:
            assert code == 1, "a broken test gates"
    return green


def for_sure(daemon, suite, number):
    """A build that passes comes before each that fails for sure: else the tests would count as broken."""
    assert run_build(daemon, suite, number + 1, PLANTED="pass")[0] == 0
    code, row = run_build(daemon, suite, number + 2, PLANTED="fail")
    assert (code, row["muted"]) == (0, len(FLAKY)), "muted tests that fail for sure keep the build green"
    report = daemon.shard("report", "--build", "b%02d" % (number + 2)).stdout
    assert all(test in report for test in FLAKY) and "%d muted" % len(FLAKY) in report, report
    assert run_build(daemon, suite, number + 3, PLANTED="pass")[0] == 0
    settled(daemon, number + 3)
    expire(daemon)
    assert {row["status"] for row in daemon.json("quarantine", "list")} == {"expired"}
    code, row = run_build(daemon, suite, number + 4, PLANTED="fail")
    assert (code, row["failing"]) == (1, len(FLAKY)), "expired entries gate"


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(folder, LONG)
        finally:
            end_all()
    print("thirty-builds: right")


if __name__ == "__main__":
    main()
