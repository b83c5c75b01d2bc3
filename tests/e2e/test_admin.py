"""What people ask a server: status, builds, workers, slow, flaky, test, wait, report. As a table and as JSON, which
say the same; names cannot act on the terminal; what is not there is an error with its name."""
import datetime
import json
import re
import signal

import pytest
from shardlib import (BUILD, PROJECT, SHARD, Process, Worker, clean_env, codes, eventually, junit_cases, make_suite,
                      run_workers)
from wire import Wire, pb

EVIL = "evil\033[2J\033]0;title\007\u202eabc.sh"
SCRIPT = """
case "$1" in
  ok.sh) ;;
  slow.sh) sleep 0.2 ;;
  flaky.sh) test -e seen || { touch seen; echo the first time; exit 1; } ;;
  *) printf 'it is \\033[31mred\\033[0m\\n'; exit 1 ;;
esac
"""
IDS = ["ok.sh", "slow.sh", "flaky.sh", EVIL]
COMMIT = {"SHARD_COMMIT": "c0ffee", "SHARD_BRANCH": "main"}


def worker_of(daemon, suite, **more):
    return Worker(daemon, suite, command=["sh", "run.sh", "{}"], env=COMMIT,
                  args=["--runner", "command", "--list-file", "list", "--retries", "1"], **more)


@pytest.fixture
def served(daemon, tmp_path):
    """A server with two builds of four tests, one of them slow, one flaky, one failing and badly named."""
    suite = make_suite(tmp_path, {"list": "\n".join(IDS) + "\n", "run.sh": SCRIPT})
    for build in ("b0", BUILD):
        workers = [worker_of(daemon, suite, node=str(i), build=build) for i in range(2)]
        assert sorted(codes(workers)) == [0, 1]
    return daemon


def table(daemon, *args, code=0):
    """The lines of a table, checked for what may not stand there."""
    done = daemon.shard(*args)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", done.stdout) is None, repr(done.stdout)
    return done.stdout.partition("\n\n")[0].splitlines()


def cells(lines):
    """[{column: cell}] of a table whose columns stand apart by two spaces at least."""
    names = re.split(r" {2,}", lines[0].strip())
    rows = [re.split(r" {2,}", line.strip()) for line in lines[1:]]
    assert all(len(row) == len(names) for row in rows), lines
    return [dict(zip(names, row)) for row in rows]


def is_time(text):
    datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    return True


FORMER = {"duration_us", "elapsed_us", "actual_us"}  # of `wall`: for programs alone


def both(daemon, *args):
    """(rows as JSON, rows as a table), of equal length, with equal columns and equal texts and numbers."""
    rows, shown = daemon.json(*args), cells(table(daemon, *args))
    assert len(rows) == len(shown)
    for row, line in zip(rows, shown):
        row = {name: value for name, value in row.items() if name not in FORMER}
        assert [name.replace("_us", "") for name in row] == list(line)
        for name, value in row.items():
            cell = line[name.replace("_us", "")]
            if value is None:
                assert cell == "-"
            elif name == "rate":
                assert cell.endswith("%")
            elif isinstance(value, int) and not name.endswith("_us"):
                assert cell == str(value)
    return rows, shown


def test_builds(served):
    rows, shown = both(served, "builds")
    assert [row["build"] for row in rows] == [BUILD, "b0"], "newest first"
    for row in rows:
        assert (row["suite"], row["commit"], row["branch"], row["state"]) == ("default", "c0ffee", "main", "complete")
        assert (row["tests"], row["passed"], row["failed"], row["workers"]) == (4, 3, 1, 2)
        assert is_time(row["started"]) and 100000 < row["wall_us"] < 60000000
        assert row["duration_us"] == row["wall_us"]
    assert shown[0]["state"] == "complete"
    assert len(served.json("builds", "--limit", "1")) == 1


def test_workers(served):
    rows, _ = both(served, "workers")
    assert [row["worker"] for row in rows] == [0, 1]
    assert sorted(row["node"] for row in rows) == ["0", "1"], "who joins first is number 0, whichever node it is"
    assert sum(row["tests"] for row in rows) == 4 + 1, "the flaky or the failing one twice"
    assert sum(row["failed"] for row in rows) == 2
    assert all(is_time(row["joined"]) and is_time(row["left"]) and row["joined"] <= row["left"] for row in rows)
    assert sum(row["busy_us"] for row in rows) > 200000


def test_slow(served):
    rows, shown = both(served, "slow")
    assert rows[0]["test"] == "slow.sh" and rows[0]["runs"] == 2
    assert 200000 < rows[0]["expected_us"] < 5000000
    expected = [row["expected_us"] for row in rows]
    assert expected == sorted(expected, reverse=True)
    assert re.fullmatch(r"\d+ms|\d\.\d\ds", shown[0]["expected"])


def test_flaky(served):
    rows, _ = both(served, "flaky")
    assert [row["test"] for row in rows] == ["flaky.sh"]
    assert rows[0]["flips"] >= 1 and rows[0]["runs"] == 3 and 0 < rows[0]["rate"] <= 1 and is_time(rows[0]["last_flip"])


def test_flaky_over_two_builds_of_a_commit(daemon, tmp_path):
    """Nobody retried it: it failed in one build and passed in the next of the same commit."""
    suite = make_suite(tmp_path, {"list": "flaky.sh\nok.sh\n", "run.sh": SCRIPT})
    options = ["--runner", "command", "--list-file", "list"]
    for build, code in (("b0", 1), ("b1", 0)):
        worker = Worker(daemon, suite, build=build, command=["sh", "run.sh", "{}"], env=COMMIT, args=options)
        assert worker.wait() == code
    assert [row["test"] for row in daemon.json("flaky")] == ["flaky.sh"]


def test_test(served):
    rows, shown = served.json("test", "flaky.sh"), cells(table(served, "test", "flaky.sh"))
    assert len(shown) == 3 and [name.replace("_us", "") for name in rows[0]] == list(shown[0]) + [
        "state", "state_since", "rate", "rate_low", "rate_high", "kind", "muted_until"], "told once, below"
    assert [(row["build"], row["status"], row["attempt"]) for row in rows] == [
        (BUILD, "passed", 1), ("b0", "passed", 2), ("b0", "failed", 1)], "newest first"
    assert rows[2]["text"].startswith("the first time") and rows[0]["text"] is None
    assert all(row["commit"] == "c0ffee" and is_time(row["when"]) for row in rows)


def test_wait(served):
    rows = served.shard("wait", "--json")
    assert rows.returncode == 1
    assert json.loads(rows.stdout) == [{"state": "complete", "exit_code": 1, "total": 4, "settled": 4, "failing": 1,
                                        "flaky": 0, "missing": 0, "text": "tests failed", "muted": 0}]
    rows = served.shard("wait")  # how far the build is stands on standard error while it may still change
    assert rows.returncode == 1
    assert rows.stdout == "complete: 4 of 4 settled, 1 failing, 0 flaky, 0 missing: tests failed\n"
    rows = served.shard("wait", "--build", "b0")
    assert rows.returncode == 1 and "1 flaky" in rows.stdout


def test_wait_begins_before_the_build(daemon, tmp_path):
    suite = make_suite(tmp_path, {"test_a.py": "def test_a():\n    pass\n"})
    env = clean_env(SHARD_SERVER=daemon.address, SHARD_PROJECT=PROJECT, SHARD_BUILD=BUILD)
    waiting = Process([SHARD, "wait"], tmp_path / "waiting", env)
    eventually(lambda: connections(daemon) >= 2, what="it asks, besides us")
    assert waiting.running()
    assert run_workers(1, daemon, suite)[0].process.returncode == 0
    assert waiting.wait() == 0, waiting.output()
    assert "complete: 1 of 1 settled" in waiting.output()


def connections(daemon):
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send(seq=1, query=pb.Query(kind=pb.QUERY_SERVER))
        cell = list(wire.expect("rows").rows.cell)
    return int(dict(zip(cell[::2], cell[1::2]))[b"connections"])


def test_report(served):
    done = served.shard("report", "--build", "b0")
    assert done.returncode == 0, done.stderr
    for words in ("evil\\x1b[2J\\x1b]0;title\\x07", "it is \\x1b[31mred", "flaky.sh: failed on ", "slowest tests:",
                  "3 passed (1 flaky), 1 failed"):
        assert words in done.stdout, done.stdout
    assert "\033" not in done.stdout and "\007" not in done.stdout and "\u202e" not in done.stdout


def test_report_as_markdown(served):
    done = served.shard("report", "--build", "b0", "--markdown")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("### \u274c 3 passed (1 flaky), 1 failed in ")
    assert "<details><summary><code>evil&#92;x1b" in done.stdout and "\033" not in done.stdout
    assert "| slowest | took |" in done.stdout and "<code>slow.sh</code>" in done.stdout


def test_report_as_json(served):
    rows = served.json("report", "--build", "b0")
    assert [row["id"] for row in rows if row["attempt"] == 1] == IDS, "in the order of the list"
    assert {row["id"]: row["status"] for row in rows} == {"ok.sh": "passed", "slow.sh": "passed",
                                                          "flaky.sh": "passed", EVIL: "failed"}
    assert "\033[31mred" in rows[-1]["text"], "JSON has what was printed"


def test_report_as_junit(served, tmp_path):
    path = tmp_path / "out.xml"
    done = served.shard("report", "--build", "b0", "--junit", path)
    assert done.returncode == 0, done.stderr
    cases = junit_cases(path)
    assert sorted(case.outcome for case in cases.values()) == ["failed", "passed", "passed", "passed"]
    assert [name for name, case in cases.items() if case.element.find("flakyFailure") is not None
            or case.element.find("rerunFailure") is not None]
    to_stdout = served.shard("report", "--build", "b0", "--junit", "-")
    assert to_stdout.stdout == path.read_text()


def test_status_of_a_running_build(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "wait.sh\nok.sh\n",
                                  "run.sh": 'test "$1" = ok.sh || while ! test -e go; do sleep 0.02; done\n'})
    worker = worker_of(daemon, suite)
    eventually(lambda: any(row["running"] == "wait.sh" for row in daemon.json("status")), what="the running test")
    rows, shown = both(daemon, "status")
    assert (rows[0]["build"], rows[0]["project"], rows[0]["state"]) == (BUILD, PROJECT, "running")
    assert (rows[0]["total"], rows[0]["workers"]) == (2, 1) and shown[0]["running"] == "wait.sh"
    assert rows[0]["leased"] + rows[0]["done"] <= 2 and rows[0]["elapsed_us"] == rows[0]["wall_us"] > 0
    (suite / "go").touch()
    assert worker.wait() == 0, worker.output()
    eventually(lambda: daemon.json("status")[0]["state"] == "complete", what="the end")


def test_status_of_nothing(daemon):
    assert table(daemon, "status") == ["no builds are running"]
    assert daemon.json("status") == []


# ---- names

@pytest.mark.parametrize("args", [["slow"], ["report"], ["test", EVIL], ["builds"], ["workers"], ["status"]])
def test_names_cannot_act(daemon, tmp_path, args):
    """A test, a project, a build, a node and a branch may be called anything; a terminal shows it as text."""
    suite = make_suite(tmp_path, {"list": EVIL + "\n", "run.sh": "echo '%s'\n" % EVIL})
    names = {"SHARD_PROJECT": EVIL, "SHARD_BUILD": EVIL, "SHARD_NODE": EVIL, "SHARD_BRANCH": EVIL, "SHARD_COMMIT": EVIL}
    worker = Worker(daemon, suite, node=None, build=None, command=["sh", "run.sh"], env=names,
                    args=["--runner", "command", "--list-file", "list"])
    assert worker.wait() == 0
    done = daemon.shard(*args, env=names)
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text), repr(text)
    assert "evil\\x1b[2J" in done.stdout
    said = json.loads(daemon.shard(*args, "--json", env=names).stdout)
    assert EVIL in said[0].values()
    shown = worker.output().replace(EVIL, "")  # what the test itself prints is passed on as it is
    assert "\033" not in shown


# ---- what is not there

def test_errors(served):
    for args, said in (
            (["report", "--build", "b\033[2J9"], '"b\\x1b[2J9"'),
            (["workers", "--build", "b9"], '"b9"'),
            (["test", "none.sh"], "no such test"),
            (["slow", "--project", "nobody"], '"nobody"'),
            (["flaky", "--project", "nobody"], '"nobody"'),
            (["builds", "--project", "nobody"], '"nobody"'),
            (["test"], "ID"),
            (["slow", "--limit", "none"], "--limit"),
            (["slow", "extra"], "extra")):
        done = served.shard(*args)
        assert done.returncode == 2, done.stdout + done.stderr
        assert said in done.stderr and "\033" not in done.stderr, done.stderr
        assert done.stdout == ""


def test_wait_for_a_build_that_never_begins(daemon):
    done = daemon.shard("wait", "--build", "b9", "--start-timeout", "1s")
    assert done.returncode == 16
    assert "--start-timeout" in done.stderr


def test_wait_for_an_incomplete_build(make_daemon, tmp_path):
    """The workers went away: the build is incomplete, which is 16."""
    daemon = make_daemon(idle_timeout="500ms")
    suite = make_suite(tmp_path, {"list": "a\nb\n", "run.sh": "touch started; sleep 600\n"})
    worker = worker_of(daemon, suite)
    eventually((suite / "started").exists, what="the test")
    worker.signal(signal.SIGTERM)
    worker.wait()
    done = daemon.shard("wait")
    assert done.returncode == 16, done.stdout
    assert re.match(r"incomplete: 0 of 2 settled, .* 2 missing: ", done.stdout)


def test_a_reader_that_goes_away(served):
    """Output that nobody takes is an error, not a success."""
    with open("/dev/full", "w") as full:
        for args in (["slow"], ["slow", "--json"], ["report"], ["report", "--junit", "-"]):
            done = served.shard(*args, stdout=full)
            assert done.returncode == 16, args
            assert "write" in done.stderr
