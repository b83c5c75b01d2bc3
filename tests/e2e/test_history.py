"""The history, end to end: who teaches it, and what real workers' builds make of it."""
import csv
import json
import re
import time

import pytest
from shardlib import (BARRIER, PROJECT, ROOT, Worker, attempts, barrier, codes, eventually, make_suite, outputs,
                      start_workers)

SUITE = {"list": "a\nb\n", "run.sh": "exit 0\n"}


def run_build(daemon, suite, build, branch="main", workers=1, args=(), **env):
    env = dict({"SHARD_COMMIT": build, "SHARD_BRANCH": branch}, **env)
    started = [Worker(daemon, suite, node=str(i), build=build, command=["sh", "run.sh", "{}"], env=env,
                      args=["--runner", "command", "--list-file", "list", *args]) for i in range(workers)]
    return codes(started)


def runs(daemon):
    return {row["test"]: row["runs"] for row in daemon.json("slow", "--project", PROJECT)}


def test_who_teaches(tmp_path, make_daemon):
    suite = make_suite(tmp_path, SUITE)
    daemon = make_daemon(protected_refs=["main", "release/*"])
    assert run_build(daemon, suite, "1", "feature") == [0]
    assert run_build(daemon, suite, "2", "main", args=["--untrusted"]) == [0]
    assert run_build(daemon, suite, "3", "main", SHARD_UNTRUSTED="yes") == [0]
    assert run_build(daemon, suite, "4", "") == [0]
    assert runs(daemon) == {}
    assert run_build(daemon, suite, "5", "main") == [0]
    assert run_build(daemon, suite, "6", "release/7") == [0]
    assert runs(daemon) == {"a": 2, "b": 2}
    assert len(daemon.json("builds")) == 6


BROKEN = {"list": "a\nb\n", "run.sh": 'test ! -e "bad.$1"\n'}


def test_only_the_trunk_breaks_tests(tmp_path, make_daemon):
    """Six attempts over two commits: on branches that is their own affair, on the trunk it is everybody's."""
    suite = make_suite(tmp_path, BROKEN)
    daemon = make_daemon()
    assert run_build(daemon, suite, "0") == [0]
    (suite / "bad.a").touch()
    for build, branch, broken in (("1", "feature", []), ("2", "topic", []), ("3", "", None), ("4", "master", ["a"])):
        assert max(run_build(daemon, suite, build, branch, workers=2, args=["--retries", "2"])) == 1
        eventually(lambda build=build: runs(daemon)["b"] == int(build) + 1, what="the build to teach")
        assert broken is None or [row["test"] for row in daemon.json("broken")] == broken
    assert [(row["last_good"], row["first_bad"], row["builds"]) for row in daemon.json("broken")] == [("0", "3", 2)]


def test_the_trunk_by_another_name(tmp_path, make_daemon):
    suite = make_suite(tmp_path, BROKEN)
    daemon = make_daemon(protected_refs=["develop"])
    (suite / "bad.a").touch()
    for build in "12":
        assert run_build(daemon, suite, build, "develop", args=["--retries", "1"]) == [1]
    eventually(lambda: runs(daemon).get("b") == 2, what="two builds to teach")
    assert [row["branch"] for row in daemon.json("broken")] == ["develop"]


def test_broken_on_a_branch(tmp_path, make_daemon):
    """A gate on main sees what fails there, wherever it failed first."""
    suite = make_suite(tmp_path, BROKEN)
    daemon = make_daemon(protected_refs=["*"])
    assert run_build(daemon, suite, "0") == [0]
    (suite / "bad.a").touch()
    for number, branch in enumerate(("feature", "feature", "main", "main"), 1):
        assert run_build(daemon, suite, str(number), branch) == [1]
    eventually(lambda: runs(daemon)["b"] == 5, what="five builds to teach")
    for branch, code in (("main", 1), ("feature", 1), ("other", 0)):
        done = daemon.shard("broken", "--branch", branch, "--fail-if", "rows>0")
        assert done.returncode == code, (branch, done.stdout, done.stderr)
    (suite / "bad.a").unlink()
    assert run_build(daemon, suite, "5", "feature") == [0]
    eventually(lambda: runs(daemon)["b"] == 6, what="the sixth to teach")
    assert [row["test"] for row in daemon.json("broken", "--branch", "main")] == ["a"]
    assert daemon.json("broken", "--branch", "feature") == []


def test_one_node_is_one_worker(tmp_path, daemon):
    """One job, run three times on one commit without retries: no second worker has tried the test."""
    suite = make_suite(tmp_path, BROKEN)
    assert run_build(daemon, suite, "0") == [0]
    (suite / "bad.a").touch()
    for number in range(3):
        assert run_build(daemon, suite, "again-%d" % number, SHARD_COMMIT="c") == [1]
    eventually(lambda: runs(daemon)["b"] == 4, what="four builds to teach")
    assert daemon.json("broken") == []


SCRIPT = """
case "$1" in
  t/flaky.sh) test -e "seen.$SHARD_BUILD" || { touch "seen.$SHARD_BUILD"; echo "the first time"; exit 1; } ;;
  t/broken.sh) test -e good || { echo "it is broken"; exit 1; } ;;
  t/slow.sh) sleep 0.2 ;;
esac
"""


@pytest.fixture
def served(daemon, tmp_path):
    """Four builds of five tests: t/flaky.sh fails first in each, t/broken.sh fails since the second."""
    suite = make_suite(tmp_path, {"list": "t/flaky.sh\nt/broken.sh\nt/slow.sh\nt/ok.sh\nu/ok.sh\n", "run.sh": SCRIPT,
                                  "CODEOWNERS": "* @all\nt/ @team\n/t/slow.sh @slow\n"})
    (suite / "good").touch()
    for number in range(4):
        build = "c%d" % number
        got = run_build(daemon, suite, build, workers=2, args=["--retries", "2"], SHARD_BUILD=build)
        assert max(got) == (0 if number == 0 else 1)
        if number == 0:
            (suite / "good").unlink()
    daemon.suite = suite
    return daemon


def ask(daemon, *args, code=0):
    done = daemon.shard(*args, cwd=daemon.suite)
    assert done.returncode == code, (args, done.stdout, done.stderr)
    return done


def rows(daemon, *args):
    return json.loads(ask(daemon, *args, "--json").stdout)


def test_flaky_and_broken(served):
    flaky = rows(served, "flaky")
    assert [(row["test"], row["state"], row["commits"]) for row in flaky] == [("t/flaky.sh", "flaky", 4)]
    assert 0 < flaky[0]["rate_low"] < flaky[0]["rate"] < flaky[0]["rate_high"] < 1 and flaky[0]["lost_us"] > 0
    broken = rows(served, "broken")
    assert [(row["test"], row["last_good"], row["first_bad"]) for row in broken] == [("t/broken.sh", "c0", "c1")]
    assert (broken[0]["commits"], broken[0]["attempts"], broken[0]["builds"]) == (3, 9, 3)
    assert broken[0]["branch"] == "main"
    assert rows(served, "broken", "--branch", "none") == [] and rows(served, "flaky", "--branch", "none") == []
    assert len(rows(served, "flaky", "--since", "1h", "--branch", "main")) == 1
    assert rows(served, "slower") == []
    log = rows(served, "log")
    assert ("t/broken.sh", "broken") in [(row["test"], row["new"]) for row in log]
    assert ("t/flaky.sh", "flaky") in [(row["test"], row["new"]) for row in log]


def test_of_one_branch(served):
    """slow: what the branch's newest build ran; workers: those of that build."""
    everything = {row["test"] for row in rows(served, "slow")}
    assert {row["test"] for row in rows(served, "slow", "--branch", "main")} == everything
    assert rows(served, "slow", "--branch", "none") == []
    part = ["--list-file", "part", "--", "sh", "run.sh", "{}"]
    (served.suite / "part").write_text("t/ok.sh\nu/ok.sh\n")
    env = {"SHARD_BUILD": "of-a-branch", "SHARD_BRANCH": "side", "SHARD_NODE": "side-node"}
    assert served.shard("run", *part, cwd=served.suite, env=env).returncode == 0
    assert {row["test"] for row in rows(served, "slow", "--branch", "side")} == {"t/ok.sh", "u/ok.sh"}
    nobody = {"SHARD_BUILD": None}
    assert [row["node"] for row in served.json("workers", "--branch", "side", env=nobody)] == ["side-node"]
    assert "side-node" not in [row["node"] for row in served.json("workers", "--branch", "main", env=nobody)]
    done = served.shard("workers", "--branch", "none", env=nobody)
    assert done.returncode == 2 and "branch none" in done.stderr, done.stderr
    time.sleep(1.1)
    assert served.json("workers", "--branch", "side", "--since", "1s", env=nobody) == []


def test_gates(served):
    assert ask(served, "flaky", "--fail-if", "rows>1").stderr == ""
    done = ask(served, "flaky", "--fail-if", "rate > 5%", code=1)
    assert "t/flaky.sh" in done.stdout and "holds: t/flaky.sh" in done.stderr
    ask(served, "broken", "--fail-if", "rows>0", code=1)
    ask(served, "slow", "--fail-if", "expected>1m")
    ask(served, "slow", "--fail-if", "expected>100ms", "--csv", code=1)
    ask(served, "build", "c3", "--fail-if", "failed<1")
    done = ask(served, "build", "c3", "--fail-if", "failed > 0", "--json", code=1)
    assert "failed > 0 holds: c3" in done.stderr and json.loads(done.stdout)["build"]
    assert "no column" in ask(served, "build", "c3", "--fail-if", "bar>1", code=2).stderr
    for rule in ("rate>5%", "rows>0", "no rule"):  # of the environment: for shard flaky, say
        done = served.shard("build", "c3", env={"SHARD_FAIL_IF": rule})
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert served.shard("flaky", env={"SHARD_FAIL_IF": "rate>5%"}).returncode == 1
    assert "no column" in ask(served, "slow", "--fail-if", "size>1", code=2).stderr
    assert "no rule" in ask(served, "slow", "--fail-if", "size", code=2).stderr


def known(daemon, tmp_path, count):
    """A history of count tests: t1 is expected to take a millisecond, t2 two and so on."""
    path = tmp_path / "known.csv"
    with open(str(path), "w") as out:
        csv.writer(out).writerows([("file", "test", "seconds")] + [
            ("src/%d.py" % (i % 3), "t%d" % i, i / 1000) for i in range(1, count + 1)])
    done = daemon.shard("import", path)
    assert done.returncode == 0, done.stderr


def test_a_gate_sees_what_is_not_printed(daemon, tmp_path):
    """All rows, page by page, however few of them are printed."""
    count = 12001
    known(daemon, tmp_path, count)
    for args, code in [((), 0), (("rows>30",), 1), (("rows>=12001",), 1), (("rows>12001",), 0), (("rows=20",), 0),
                       (("expected<2ms",), 1), (("expected<1ms",), 0), (("expected>12s",), 1), (("share=2",), 0)]:
        gate = ["--fail-if"] * bool(args) + list(args)
        done = daemon.shard("slow", *gate)
        assert done.returncode == code, (args, done.stderr)
        assert len(done.stdout.splitlines()) == 21 and "holds" in done.stderr or not code, args
        assert len(daemon.shard("slow", "--csv", "--limit", "5", *gate).stdout.splitlines()) == 6
        assert len(json.loads(daemon.shard("slow", "--json", "--limit", "10000", *gate).stdout)) == 10000
    done = daemon.shard("slow", "--fail-if", "expected<2ms")
    assert "holds: src/1.py::t1\n" in done.stderr and "::t12001 " in done.stdout and "::t1 " not in done.stdout


def test_owners_of_many_tests(daemon, tmp_path):
    known(daemon, tmp_path, 12001)
    owners = tmp_path / "owners"
    owners.write_text("* @rest\nsrc/1.py @one\n")
    got = {row["owner"]: row["tests"] for row in daemon.json("owners", "--owners", owners)}
    assert got == {"@rest": 8000, "@one": 4001}


def test_numbers_are_numbers(served):
    assert [row["runs_per_day"] for row in rows(served, "slow")] == [pytest.approx(row["runs"] / 7, abs=0.05)
                                                                     for row in rows(served, "slow")]
    ask(served, "slow", "--fail-if", "runs_per_day>0.5", code=1)
    ask(served, "slow", "--fail-if", "runs_per_day>100")
    assert "cannot be compared" in ask(served, "slow", "--fail-if", "runs>0.5", code=2).stderr


def test_csv(served):
    done = served.shard("slow", "--csv", "--limit", "2", cwd=served.suite, universal_newlines=False, errors=None)
    lines = done.stdout.decode().split("\r\n")
    assert lines[0].startswith("test,file,expected_us,last_us,p95_us") and lines[0].endswith(",owner")
    assert lines[1].startswith("t/slow.sh,") and len(lines) == 4 and lines[3] == ""
    assert len({line.count(",") for line in lines[:3]}) == 1


def told():
    """{command: the columns that docs/history.md explains in its section}."""
    text = (ROOT / "docs/history.md").read_text().partition("## What the tables say")[2]
    sections = re.findall(r"^\*\*`shard ([a-z ]+)(?: [A-Z]+)?`\*\*(.*?)(?=^\*\*`shard |\Z)", text,
                          re.MULTILINE | re.DOTALL)
    sections = [(name, part.partition("In JSON a row of `skips`")[0]) for name, part in sections]
    return {name: [column for cell in re.findall(r"^\| ([a-z0-9_, ]+) \|", part, re.MULTILINE) if cell != "column"
                   for column in cell.split(", ")] for name, part in sections}


def test_every_column_is_explained(served):
    """docs/history.md has each column of each command in that command's section, and no other, once."""
    ask(served, "quarantine", "add", "t/ok.sh", "--reason", "x")
    words = {"test": ["t/flaky.sh"], "build": ["c3"], "workers": ["--build", "c3"]}
    docs = told()
    assert set(docs) == {"flaky", "broken", "slow", "slower", "test", "log", "owners", "quarantine list", "status",
                         "builds", "build", "workers"}
    for name, columns in docs.items():
        args = name.split() + words.get(name, [])
        head = next(csv.reader(ask(served, *args, "--csv").stdout.splitlines()))
        assert sorted(columns) == sorted(re.sub("_us$", "", column) for column in head), name
        found = rows(served, *args)
        keys = {key for row in (sum(found.values(), []) if name == "build" else found) for key in row}
        assert not keys or keys == set(head) - ({"kind"} if name == "build" else set()), name
        assert keys or name in ("slower", "status"), name


def test_one_test(served):
    text = ask(served, "test", "t/flaky.sh").stdout
    assert "outcomes   x.x.x.x." in text and "durations  " in text and "suspect -> flaky: " in text
    assert "\nlast failure:\nthe first time\n" in text and re.search(r"^state +flaky$", text, re.MULTILINE)
    text = ask(served, "test", "t/ok.sh").stdout  # it never changed its state
    assert re.search(r"^state +new\n", text, re.MULTILINE) and re.search(r"^rate +0\.", text, re.MULTILINE)
    text = ask(served, "test", "t/flaky.sh", "--branch", "none").stdout
    assert text.startswith("none of its runs") and re.search(r"^state +flaky$", text, re.MULTILINE)
    assert "durations" not in text and "->" not in text and "never" not in text


def test_one_test_for_programs(served):
    flaky, = rows(served, "flaky")
    told = rows(served, "test", "t/flaky.sh")
    assert {(row["suite"], row["state"], row["rate"], row["kind"]) for row in told} == {
        ("default", "flaky", flaky["rate"], flaky["kind"])}
    assert {row["muted_until"] for row in told} == {None}
    assert served.shard("quarantine", "add", "t/flaky.sh", "--reason", "x").returncode == 0
    assert {row["muted_until"][:2] for row in rows(served, "test", "t/flaky.sh")} == {"20"}
    lines = ask(served, "test", "t/ok.sh", "--csv").stdout.splitlines()
    assert lines[0].endswith(",suite,state,state_since,rate,rate_low,rate_high,kind,muted_until")
    assert ",default,new," in lines[1]
    ask(served, "test", "t/flaky.sh", "--fail-if", "state=flaky", code=1)
    ask(served, "test", "t/flaky.sh", "--fail-if", "rate<1%")


def test_one_build(served):
    text = ask(served, "build", "c3").stdout
    for name in ("state         complete", "predicted     ", "lower_bound   ", "idle   ", "longest_test  t/slow.sh"):
        assert name in text, text
    bars = re.findall(r"^ +\d \d +\|(.{60})\|", text, re.MULTILINE)
    assert len(bars) == 2 and "x" in "".join(bars) and "█" in "".join(bars)
    both = rows(served, "build", "c3")
    assert both["build"][0]["lower_bound_us"] <= both["build"][0]["actual_us"]
    assert [len(row["bar"]) for row in both["workers"]] == [60, 60]
    assert '"c9"' in ask(served, "build", "c9", code=2).stderr
    assert rows(served, "build", "c3", "--limit", "1") == dict(both, workers=both["workers"][:1])
    nobody = {"SHARD_BUILD": None}
    assert served.json("build", env=nobody) == served.json("build", "--branch", "main", env=nobody) == both
    assert served.json("build", env={"SHARD_BUILD": "c2"})["build"][0]["build"] == "c2"
    done = served.shard("build", "--branch", "none", env=nobody)
    assert done.returncode == 2 and "branch none" in done.stderr, done.stderr
    assert rows(served, "build", "c3", "--since", "1d") == both
    time.sleep(1.1)
    assert "ended before" in ask(served, "build", "c3", "--since", "1s", code=2).stderr
    assert "ended before" in served.shard("build", "--since", "1s", env=nobody).stderr
    for name in ("build", "workers"):
        done = served.shard(name, "--branch", "none", env={"SHARD_BUILD": "c3"})
        assert done.returncode == 2 and '"c3" is not of branch "none", but of "main"' in done.stderr, done.stderr
        assert served.shard(name, "--branch", "main", env={"SHARD_BUILD": "c3"}).returncode == 0
    assert "is not of branch" in ask(served, "build", "c3", "--branch", "none", "--json", code=2).stderr


def test_which_build(served):
    """In a CI the newest build may be another pipeline's, and a key that is empty is a variable that is not set."""
    ci = {"SHARD_BUILD": None, "GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_RUN_ID": "100", "GITHUB_JOB": "j"}
    for name in ("build", "workers"):
        for args in ([], ["--fail-if", "rows<1"], ["--since", "1d"]):
            done = served.shard(name, *args, env=ci)
            assert done.returncode == 2 and "another pipeline's" in done.stderr and not done.stdout, done.stderr
        assert served.shard(name, "--build", "c3", env=ci).returncode == 0
        assert served.shard(name, "--branch", "main", env=ci).returncode == 0
        done = served.shard(name, "--build", "")
        assert done.returncode == 2 and "an empty key" in done.stderr, done.stderr
    assert served.shard("build", "c3", env=ci).returncode == 0
    done = served.shard("build", "", "--fail-if", "failed>0")
    assert done.returncode == 2 and "an empty key" in done.stderr, done.stderr


def test_gate_of_a_build_that_runs(daemon, tmp_path):
    """What has not failed yet has not passed; what holds already, holds."""
    suite, gate = make_suite(tmp_path, {"test_a.py": '''
        import os, time

        def test_it():
            end = time.monotonic() + 240
            while not os.path.exists(os.environ["GATE"]):
                assert time.monotonic() < end
                time.sleep(0.01)
    '''}), tmp_path / "gate"
    worker = Worker(daemon, suite, env={"GATE": str(gate)})
    eventually(worker.ran, what="it runs")
    done = daemon.shard("build", "b1", "--fail-if", "failed>0")
    assert done.returncode == 2 and "still runs" in done.stderr, done.stderr
    assert daemon.shard("build", "b1").returncode == 0
    # A test may begin before the commit that tells the history of the build's new state.
    eventually(lambda: daemon.shard("build", "b1", "--fail-if", "state=running").returncode == 1, what="state=running")
    gate.write_text("")
    assert worker.wait() == 0, worker.output()
    assert daemon.shard("wait").returncode == 0
    assert daemon.shard("build", "b1", "--fail-if", "failed>0").returncode == 0


def test_one_build_as_csv(served):
    """A row for the build and one for each worker, in one table: nothing that JSON tells is lost."""
    both, text = rows(served, "build", "c3"), ask(served, "build", "c3", "--csv").stdout
    lines = list(csv.DictReader(text.splitlines()))
    assert [line["kind"] for line in lines] == ["build", "worker", "worker"]
    for line, row in zip(lines, both["build"] + both["workers"]):
        assert {line["build"], line["suite"]} == {"c3", "default"}
        for name, value in row.items():
            same = float(line[name]) == pytest.approx(value, abs=1e-6) if isinstance(value, (int, float)) else (
                line[name].lstrip("'") == (value or ""))
            assert same, (name, line[name], value)
        assert all(not line[name] for name in set(line) - set(row) - {"kind", "build", "suite"})
    assert lines[0]["longest_test"] == "t/slow.sh" and int(lines[0]["lower_bound_us"]) > 0
    assert len(ask(served, "build", "c3", "--limit", "1", "--csv").stdout.splitlines()) == 3
    ask(served, "build", "c3", "--csv", "--fail-if", "failed>0", code=1)


def test_owners(served):
    got = {row["owner"]: (row["tests"], row["broken"], row["flaky"]) for row in rows(served, "owners")}
    assert got == {"@team": (3, 1, 1), "@slow": (1, 0, 0), "@all": (1, 0, 0)}
    assert {row["owner"] for row in rows(served, "flaky")} == {"@team"}
    ask(served, "owners", "--fail-if", "broken>0", "--limit", "1", code=1)
    ask(served, "owners", "--fail-if", "broken=0", "--limit", "1", code=1)
    ask(served, "owners", "--fail-if", "rows>3", "--limit", "1")
    (served.suite / "CODEOWNERS").unlink()
    assert "CODEOWNERS" in ask(served, "owners", code=2).stderr
    assert "owner" not in rows(served, "flaky")[0]


KINDS = {"conftest.py": BARRIER, "test_kinds.py": """
    import os, pathlib
    def mark(name):
        path = pathlib.Path(name + os.environ["SHARD_BUILD"])
        first = not path.exists()
        if first:
            path.write_text(str(os.getpid()))
        return first, path.read_text() == str(os.getpid())
    def test_order():  # fails in the first process that runs it, and in no other
        assert not mark("order")[1]
    def test_random():  # fails the first time
        assert not mark("random")[0]
"""}


def test_kinds(tmp_path, make_daemon):
    """What fails again where it failed, and passes elsewhere, depends on the order; what passes there is random."""
    daemon = make_daemon()
    suite = make_suite(tmp_path, KINDS)
    for number in range(5):
        env = dict(barrier(tmp_path, 2), SHARD_COMMIT=str(number), SHARD_BRANCH="main")
        workers = start_workers(2, daemon, suite, build="k%d" % number, args=["--retries", "1"], env=env)
        assert codes(workers) == [0, 0], outputs(workers)
    found = {row["test"].split("::")[1]: row["kind"] for row in daemon.json("flaky", "--project", PROJECT)}
    assert found == {"test_order": "order", "test_random": "random"}
    tries = attempts(daemon, "k4")["test_kinds.py::test_order"]
    assert [row["status"] for row in tries] == ["failed", "passed"]  # its kind is known: straight to the other
    tries = attempts(daemon, "k3")["test_kinds.py::test_order"]
    assert [row["status"] for row in tries] == ["failed", "failed", "passed"]
    assert tries[0]["worker"] == tries[1]["worker"] != tries[2]["worker"]
