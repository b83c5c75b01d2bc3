"""Wall time, makespan, test time, idle and lower bound of a build: one number under each name, whichever output says
it, also when a job is run again hours later; and a static split is compared by what both sides have."""
import contextlib
import datetime
import re
import sqlite3

from shardlib import BUILD, Process, SHARD, Worker, clean_env, codes, junit_cases, make_suite, run_workers

HOURS_MS = 3 * 3600 * 1000
SUITE = {"test_a.py": """
import os, time, pytest
@pytest.mark.parametrize("i", range(8))
def test_it(i):
    time.sleep(0.05)
def test_mended():
    assert os.environ["MENDED"] == "yes"
"""}


def shown(us):
    """As the text outputs show a duration."""
    if us < 1000000:
        return "%dms" % (us // 1000) if us >= 1000 else "%dus" % us if us else "0"
    if us < 10000000:
        return "%d.%02ds" % (us // 1000000, us % 1000000 // 10000)
    assert us < 60000000, "an hour is no part of this build: %d" % us
    return "%d.%ds" % (us // 1000000, us % 1000000 // 100000)


def record(text):
    """{name: cell} of the build's part of `shard build`."""
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in text.partition("\n\n")[0].splitlines())


def table_row(text, build):
    """{column: cell} of one build in a table without empty cells."""
    lines = text.partition("\n\n")[0].splitlines()
    names = re.split(r" {2,}", lines[0].strip())
    rows = [dict(zip(names, re.split(r" {2,}", line.strip()))) for line in lines[1:]]
    return next(row for row in rows if row["build"] == build)


def start_ms(row):
    return int(datetime.datetime.fromisoformat(row["start"].replace("Z", "+00:00")).timestamp() * 1000 + 0.5)


def closing(text):
    """The spans by name in the closing lines of `report` and `local`."""
    found = re.search(r"^(\d+) workers?: makespan (\S+), \d+\.\d\d of the lower bound ([^ ;,]+)(?:, predicted \S+)?; "
                      r"wall time (\S+), test time (\S+), idle (\S+)$", text, re.MULTILINE)
    assert found, text
    return dict(zip(("workers", "makespan", "lower_bound", "wall", "test_time", "idle"), found.groups()))


def agree(daemon, tmp_path, rounds):
    """Every output says the same of the build, which has ended; returns the build's row."""
    both = daemon.json("build", BUILD)
    build, rows = both["build"][0], daemon.json("report", "--build", BUILD)
    status = next(row for row in daemon.json("status") if row["build"] == BUILD)
    builds = next(row for row in daemon.json("builds") if row["build"] == BUILD)
    wall = build["wall_us"]
    assert {wall} == {build["actual_us"], status["wall_us"], status["elapsed_us"], builds["wall_us"],
                      builds["duration_us"]}
    assert build["lower_bound_us"] <= build["makespan_us"] <= wall
    took = {id(row): row["setup_us"] + row["call_us"] + row["teardown_us"] for row in rows}
    assert build["test_time_us"] == sum(took.values()) == sum(row["busy_us"] for row in both["workers"])
    assert build["longest_us"] == max(took.values()) <= build["lower_bound_us"]
    if rounds == 1:
        first = min(start_ms(row) for row in rows)
        last = max(start_ms(row) * 1000 + took[id(row)] for row in rows)
        assert abs(build["makespan_us"] - (last - first * 1000)) <= 1000
    text = record(daemon.shard("build", BUILD).stdout)
    assert not {"actual", "duration", "elapsed"} & set(text)
    for name in ("wall", "makespan", "test_time", "lower_bound"):
        assert text[name] == shown(build[name + "_us"]), name
    assert table_row(daemon.shard("builds").stdout, BUILD)["wall"] == shown(wall)
    assert table_row(daemon.shard("status").stdout, BUILD)["wall"] == shown(wall)
    report = daemon.shard("report", "--build", BUILD).stdout
    names = closing(report)
    assert report.splitlines()[-1].endswith(" in " + shown(wall)), report
    for name in ("wall", "makespan", "test_time", "lower_bound", "idle"):
        assert names[name] == text[name], name
    markdown = daemon.shard("report", "--markdown", "--build", BUILD).stdout
    assert markdown.splitlines()[0].endswith(" in " + shown(wall)) and closing(markdown) == closing(report)
    assert ("static split" in report) == (rounds == 1)
    assert daemon.shard("report", "--build", BUILD, "--junit", tmp_path / "j.xml").returncode == 0
    deciding = sum(took[id(row)] for row in rows if row["flags"] & 1 and row["round"] == max(
        other["round"] for other in rows if other["id"] == row["id"]))
    head = re.search(r'<testsuite [^>]*time="([0-9.]+)"', (tmp_path / "j.xml").read_text())
    assert abs(float(head.group(1)) * 1e6 - deciding) < 1 and junit_cases(tmp_path / "j.xml")
    return build


def hours_ago(daemon):
    """What stands in the database happened three hours earlier."""
    with contextlib.closing(sqlite3.connect(daemon.database)) as db, db:
        for table, columns in (("build", ("started_ms", "ended_ms")), ("result", ("start_ms",)),
                               ("worker", ("joined_ms", "left_ms"))):
            for column in columns:
                db.execute("UPDATE %s SET %s=%s-%d" % (table, column, column, HOURS_MS))


def test_one_number_a_name(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    run_workers(2, daemon, suite, args=["--retries", "0"], env={"MENDED": "yes"})
    assert daemon.shard("wait", "--build", BUILD).returncode == 0
    agree(daemon, tmp_path, rounds=1)


def test_a_job_that_is_run_again_hours_later(tmp_path, daemon):
    suite, args = make_suite(tmp_path, SUITE), ["--retries", "0"]
    env = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "5", "GITHUB_JOB": "t", "GITHUB_REPOSITORY": "o/r",
           "GITHUB_RUN_ATTEMPT": "1", "MENDED": "no"}
    workers = run_workers(2, daemon, suite, args=args, env=env)
    assert sorted(worker.wait() for worker in workers) == [0, 1]
    assert daemon.shard("wait", "--build", BUILD).returncode == 1
    before = agree(daemon, tmp_path, rounds=1)
    daemon.stop()
    hours_ago(daemon)
    daemon.start()
    failed = next(worker for worker in workers if worker.wait() == 1)
    again = Worker(daemon, suite, node=failed.node, args=args, env=dict(env, GITHUB_RUN_ATTEMPT="2", MENDED="yes"))
    assert codes([again]) == [0], again.output()
    assert daemon.shard("wait", "--build", BUILD).returncode == 0
    after = agree(daemon, tmp_path, rounds=2)
    for name in ("wall_us", "makespan_us", "test_time_us"):
        assert before[name] < after[name] < before[name] + 60000000, name
    bars = [row["bar"] for row in daemon.json("build", BUILD)["workers"]]
    assert len(bars) == 3 and len({bar.strip("0") for bar in bars}) == 3, bars
    assert all(len(bar) - len(bar.strip("0")) < 60 for bar in bars), "each worker is seen"


def test_a_static_split_is_compared_by_test_time(tmp_path):
    """The start-up of the workers, here half a second, is on neither side."""
    suite = make_suite(tmp_path, dict(SUITE, **{"conftest.py": "import time\ntime.sleep(0.5)\n"}))
    local = Process([SHARD, "local", "-n", "2", "--", "/usr/bin/python3", "-m", "pytest", "-q", "."],
                    tmp_path / "output", clean_env(MENDED="yes", HOME=str(tmp_path)), suite)
    assert local.wait() == 0, local.output()
    text = local.output()
    spans = closing(text)
    found = re.search(r"^test time of the busiest worker (\S+); a static split by count would take (\S+)$", text,
                      re.MULTILINE)
    assert found, text
    ours, split, whole, wall = (seconds(cell) for cell in (*found.groups(), spans["test_time"], spans["wall"]))
    assert whole / 2 - 0.02 <= ours <= whole and whole / 2 - 0.02 <= split <= whole, "parts of the same test time"
    assert wall >= 0.5 and text.rstrip().splitlines()[-1].endswith(" in " + spans["wall"]), text


def seconds(cell):
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", cell).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit]
