"""The quarantine, end to end: muted tests run and fail nobody, in auto by themselves and by hand, until they expire or
break; quarantine.yml goes in and out."""
import datetime
import json
import re
import sqlite3

import pytest
from shardlib import BUILD, ROOT, Worker, codes, eventually, junit_cases, make_suite

SCRIPT = """
case "$1" in
  flaky) n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; test $((n % 3)) = 2 || { echo "by chance"; exit 1; } ;;
  broken) test ! -e bad ;;
esac
"""
SUITE = {"list": "flaky\nbroken\nok\n", "run.sh": SCRIPT}


def run_build(daemon, suite, build, retries=0, branch="main"):
    env = {"SHARD_COMMIT": build, "SHARD_BRANCH": branch}
    return codes([Worker(daemon, suite, build=build, command=["sh", "run.sh", "{}"], env=env,
                         args=["--runner", "command", "--list-file", "list", "--retries", str(retries)])])


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, SUITE)


def listed(daemon):
    return {row["test"]: (row["status"], row["origin"]) for row in daemon.json("quarantine", "list")}


def mute(daemon, *args, code=0):
    done = daemon.shard("quarantine", *args, env={"USER": "somebody"})
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def test_by_hand(daemon, suite, tmp_path):
    (suite / "n").write_text("2")
    assert run_build(daemon, suite, "first") == [0]
    assert "--reason" in mute(daemon, "add", "flaky", code=2).stderr
    assert "30" in mute(daemon, "add", "flaky", "--reason", "x", "--for", "31d", code=2).stderr
    assert "not known" in mute(daemon, "add", "none", "--reason", "x", code=2).stderr
    assert "say add" in mute(daemon, "ad", "flaky", code=2).stderr
    assert "add ID --reason TEXT" in mute(daemon, "add", code=2).stderr
    assert "export, which prints a file" in mute(daemon, "export", "file", code=2).stderr
    assert "one line of at most 4096 bytes" in mute(daemon, "add", "", "--reason", "x", code=2).stderr
    assert "at most" in mute(daemon, "add", "flaky", "--reason", "x" * 1025, code=2).stderr
    mute(daemon, "add", "flaky", "--reason", "it waits for a clock", "--ticket", "T-7", "--for", "1d")
    row, = daemon.json("quarantine", "list")
    assert (row["test"], row["status"], row["origin"], row["who"], row["ticket"]) == (
        "flaky", "muted", "manual", "somebody", "T-7")
    assert run_build(daemon, suite, BUILD) == [0]
    assert json.loads(daemon.shard("wait", "--json").stdout)[0]["muted"] == 1
    report = daemon.shard("report").stdout
    assert "1 muted" in report and "muted, failed and did not count" in report and "1 failed" not in report
    daemon.shard("report", "--junit", tmp_path / "out.xml")
    outcomes = [case.outcome for case in junit_cases(tmp_path / "out.xml").values()]
    assert sorted(outcomes) == ["passed", "passed", "skipped"]
    builds = {row["build"]: (row["passed"], row["failed"]) for row in daemon.json("builds")}
    assert builds == {"first": (3, 0), BUILD: (2, 0)}
    mute(daemon, "remove", "flaky")
    assert listed(daemon) == {}
    assert "not in quarantine" in mute(daemon, "remove", "flaky", code=2).stderr
    assert [(row["new"], row["who"]) for row in daemon.json("log") if row["who"]] == [
        ("gating", "somebody"), ("muted", "somebody")]
    (suite / "n").write_text("0")
    assert run_build(daemon, suite, "third") == [1]


def test_auto(make_daemon, suite):
    daemon = make_daemon(quarantine="auto")
    for build in "123":
        assert run_build(daemon, suite, build, retries=2) == [0]
    assert listed(daemon) == {"flaky": ("muted", "auto")}
    (suite / "n").write_text("0")
    assert run_build(daemon, suite, "4") == [0]
    (suite / "bad").touch()
    daemon.restart()
    for build in "56":
        assert run_build(daemon, suite, build, retries=2) == [1], "a broken one is never muted"
    assert listed(daemon) == {"flaky": ("muted", "auto")}
    assert "broken" in mute(daemon, "add", "broken", "--reason", "x", code=2).stderr


def test_what_pull_requests_break_is_not_flaky(make_daemon, suite):
    """Four of them break a sound test, once each, between green builds of main; then main breaks it itself."""
    daemon = make_daemon(quarantine="auto")
    (suite / "n").write_text("2")
    (suite / "list").write_text("broken\nok\n")
    assert run_build(daemon, suite, "m0") == [0]
    for number in range(1, 5):
        (suite / "bad").touch()
        assert run_build(daemon, suite, "f%d" % number, branch="feature-%d" % number) == [1]
        (suite / "bad").unlink()
        assert run_build(daemon, suite, "m%d" % number) == [0]
    eventually(lambda: {row["test"]: row["runs"] for row in daemon.json("slow")}.get("ok") == 9, what="nine builds")
    assert daemon.json("flaky") == [] and listed(daemon) == {} and daemon.json("log") == []
    (suite / "bad").touch()
    assert run_build(daemon, suite, "bad") == [1]


def test_a_restart_keeps_what_is_muted(daemon, tmp_path):
    """What was muted when the build's list came stays so for this build: it is taken out, and the daemon killed."""
    suite = make_suite(tmp_path, {"list": "a\nb\n",
                                  "run.sh": "touch began; while ! test -e go; do sleep 0.02; done; test $1 = b\n"})
    (suite / "go").touch()
    assert run_build(daemon, suite, "first") == [1]
    (suite / "go").unlink()
    (suite / "began").unlink()
    mute(daemon, "add", "a", "--reason", "x")
    worker = Worker(daemon, suite, command=["sh", "run.sh", "{}"], args=["--runner", "command", "--list-file", "list"])
    eventually((suite / "began").exists, what="a test")
    mute(daemon, "remove", "a")
    daemon.restart()
    (suite / "go").touch()
    assert worker.wait() == 0, worker.output()
    assert json.loads(daemon.shard("wait", "--json").stdout)[0]["muted"] == 1


def test_file(daemon, suite, tmp_path):
    assert run_build(daemon, suite, "first", retries=2) == [0]
    path = tmp_path / "quarantine.yml"
    path.write_text('- test: "flaky"\n  reason: "see below"\n  who: "me"\n  until: 2000-01-01\n'
                    '- test: ok\n  reason: r\n  until: %s\n' % day(10))
    done = mute(daemon, "import", path)
    assert "shard quarantine: %s:1:9: flaky: its time is over: it gates again\n" % path == done.stderr
    assert listed(daemon) == {"ok": ("muted", "file")}
    mute(daemon, "add", "broken", "--reason", "by hand")
    out = mute(daemon, "export").stdout
    assert '- test: "ok"\n  reason: "r"\n  until: %s\n' % day(10) in out and '- test: "broken"' in out
    path.write_text('- test: flaky\n  reason: r\n  until: %s\n' % day(3))
    mute(daemon, "import", path)
    assert listed(daemon) == {"flaky": ("muted", "file"), "broken": ("muted", "manual")}


ENTRY = "- test: %s\n  reason: r\n  until: %s\n"


def test_a_round_trip_changes_nothing(daemon, suite, tmp_path):
    assert run_build(daemon, suite, "first", retries=2) == [0]
    exported = mute(daemon, "export").stdout
    assert exported.endswith("\n[]\n")
    mute(daemon, "add", "ok", "--reason", 'a "b": # c', "--ticket", "T-7", "--for", "30d", "--extend")
    mute(daemon, "add", "flaky", "--reason", "r", "--who", "me")
    before, path = daemon.json("quarantine", "list"), tmp_path / "quarantine.yml"
    path.write_text(mute(daemon, "export").stdout)
    assert path.read_text().count("extend: yes") == 1
    for _ in range(2):
        mute(daemon, "import", path)
        assert mute(daemon, "export").stdout == path.read_text()
        after = daemon.json("quarantine", "list")
        assert kept(after) == kept(before) and {row["origin"] for row in after} == {"file"}
    path.write_text(exported)
    mute(daemon, "import", path)
    assert listed(daemon) == {}


def test_the_sample_of_the_docs_is_taken(daemon, tmp_path):
    """With a day of these: every key that there is stands in it."""
    page, code = (ROOT / "docs/history.md").read_text(), (ROOT / "worker/quarantine_file.c").read_text()
    sample, = re.findall(r"```yaml\n(- test: .*?)```", page, re.DOTALL)
    keys, = re.findall(r"keys\[\] = \{(.*?)\};", code)
    assert sorted(re.findall(r"^[- ] (\w+): ", sample, re.MULTILINE)) == sorted(re.findall(r"\w+", keys))
    test, = re.findall(r"test: (.*)", sample)
    suite, path = make_suite(tmp_path, {"list": test + "\n", "run.sh": "exit 0\n"}), tmp_path / "quarantine.yml"
    assert run_build(daemon, suite, "first") == [0]
    path.write_text(re.sub(r"until: \d{4}-\d\d-\d\d", "until: " + day(30), sample))
    mute(daemon, "import", path)
    row, = daemon.json("quarantine", "list")
    assert (row["test"], row["status"], row["who"], row["ticket"], row["extend"]) == (
        test, "muted", "somebody", "T-7", "once")


def test_an_entry_that_nobody_changed_is_left_alone(daemon, suite, tmp_path):
    """An import in every pipeline neither fills the log nor makes an old entry new."""
    assert run_build(daemon, suite, "first", retries=2) == [0]
    path = tmp_path / "quarantine.yml"
    path.write_text(ENTRY % ("ok", day(10)) + ENTRY % ("flaky", day(10)))
    assert mute(daemon, "import", path).stdout == "2 tests muted or renewed, 0 taken out, 0 as they were\n"
    rows, log = daemon.json("quarantine", "list"), daemon.json("log")
    assert mute(daemon, "import", path).stdout == "0 tests muted or renewed, 0 taken out, 2 as they were\n"
    assert (daemon.json("quarantine", "list"), daemon.json("log")) == (rows, log)
    for changed in (day(11), day(10) + "\n  who: me", day(10) + "\n  ticket: T-7", day(10) + "\n  extend: yes"):
        path.write_text(ENTRY % ("ok", changed) + ENTRY % ("none", day(3)))
        done = mute(daemon, "import", path, code=2).stdout
        assert done.startswith("1 tests muted or renewed, ") and done.endswith(" as they were, 1 refused\n")


def kept(rows):
    return [{key: row[key] for key in ("test", "status", "who", "reason", "ticket", "extend")} for row in rows]


@pytest.mark.parametrize("wrong, said", [
    ("- test: a\n", "3:3: this entry has no reason"),
    (ENTRY % ("a", "soon"), '5:10: until: "soon" is no day'),
    (ENTRY % ("a", "2026-11-31"), '5:10: until: "2026-11-31" is no day'),
    (ENTRY % ("a", "2030-01-01") + "  why: x\n", "6:3: unknown key"),
    (ENTRY % ("a", "2030-01-01") + "  extend: maybe\n", '6:11: extend: "maybe" is wrong; it takes yes or no'),
    (ENTRY % ("ok", "2030-01-01") + ENTRY % ("ok", "2030-01-02"),
     "6:9: this test stands twice, first on line 3; remove one of them"),
    ("a: b\n", "3:1: this is no list of tests"),
    ("hello\n", "3:1: this is no list of tests"),
    ("", "1:1: this is no list of tests"),
    ("- a: [\n", "4:1: "),
], ids=str)
def test_a_file_that_makes_no_sense_changes_nothing(daemon, suite, tmp_path, wrong, said):
    assert run_build(daemon, suite, "first", retries=2) == [0]
    path = tmp_path / "quarantine.yml"
    path.write_text(ENTRY % ("ok", day(10)))
    mute(daemon, "import", path)
    before = daemon.json("quarantine", "list")
    assert len(before) == 1
    path.write_text("# A comment\n\n" + wrong)
    assert "shard quarantine: %s:%s" % (path, said) in mute(daemon, "import", path, code=2).stderr
    assert daemon.json("quarantine", "list") == before
    path.write_text("# None any more\n[]\n")
    mute(daemon, "import", path)
    assert listed(daemon) == {}


def test_an_entry_whose_day_is_over_gates_again(daemon, suite, tmp_path):
    assert run_build(daemon, suite, "first", retries=2) == [0]
    path, over = tmp_path / "quarantine.yml", ENTRY % ("ok", "2000-01-01")
    path.write_text(ENTRY % ("ok", day(10)) + "  extend: yes\n")
    mute(daemon, "import", path)
    path.write_text(over + "  extend: yes\n")
    assert "ok: its time is over: it gates again" in mute(daemon, "import", path).stderr
    assert listed(daemon) == {}
    assert [row["new"] for row in daemon.json("log")][:2] == ["gating", "muted"]
    mute(daemon, "add", "ok", "--reason", "by hand")
    path.write_text(over)
    assert "it stays muted by an entry that is not from a file" in mute(daemon, "import", path).stderr
    assert listed(daemon) == {"ok": ("muted", "manual")}


def test_an_entry_that_ended_by_itself_stays_as_it_is(daemon, suite, tmp_path):
    """It stands in the list as expired until the file drops it; one that was muted once more stays muted."""
    assert run_build(daemon, suite, "first", retries=2) == [0]
    path = tmp_path / "quarantine.yml"
    path.write_text(ENTRY % ("ok", day(10)) + ENTRY % ("flaky", day(10)) + "  extend: yes\n")
    mute(daemon, "import", path)
    assert daemon.stop() == 0
    db = sqlite3.connect(daemon.database)
    with db:  # as the server does at the end of an entry
        assert db.execute("UPDATE quarantine SET expires_ms=1000 WHERE extend=0").rowcount == 1
        assert db.execute("UPDATE quarantine SET extend=0 WHERE extend=1").rowcount == 1
    db.close()
    daemon.start()
    path.write_text(ENTRY % ("ok", "2000-01-01") + ENTRY % ("flaky", "2000-01-01") + "  extend: yes\n")
    done = mute(daemon, "import", path)
    assert "ok: its time is over: it gates again" in done.stderr
    assert "flaky: its time is over: it is muted once more, as extend says" in done.stderr
    assert listed(daemon) == {"ok": ("expired", "file"), "flaky": ("muted", "file")}
    path.write_text("[]\n")
    mute(daemon, "import", path)
    assert listed(daemon) == {}


def test_one_refused_entry_stops_no_other(daemon, suite, tmp_path):
    """What left the file gates again although the server refuses another entry, and what stands below that is muted."""
    assert run_build(daemon, suite, "first", retries=2) == [0]
    path = tmp_path / "quarantine.yml"
    path.write_text(ENTRY % ("ok", day(10)))
    mute(daemon, "import", path)
    path.write_text(ENTRY % ("none", day(10)) + ENTRY % ("flaky", day(10)))
    assert refused(mute(daemon, "import", path, code=2), path, 1, "none", "the test is not known")
    assert listed(daemon) == {"flaky": ("muted", "file")}


def refused(done, path, line, test, text):
    """Whether it says so of the test that the file names on that line."""
    lead = "shard quarantine: %s:%d:9: %s: unix:" % (path, line, test)
    return any(said.startswith(lead) and text in said for said in done.stderr.splitlines())


def test_what_the_server_refuses_is_told_with_its_place(daemon, suite, tmp_path):
    (suite / "n").write_text("2")
    (suite / "bad").touch()
    for build in "12":
        assert run_build(daemon, suite, build, retries=2) == [1]
    path = tmp_path / "quarantine.yml"
    path.write_text("# Muted\n" + "".join(ENTRY % (test, day(ahead)) for test, ahead in (
        ("none", 3), ("broken", 3), ("flaky", 32), ("ok", 30))))
    done = mute(daemon, "import", path, code=2)
    assert refused(done, path, 2, "none", ": the test is not known in this suite")
    assert refused(done, path, 5, "broken", ": the test is broken, not flaky")
    assert refused(done, path, 8, "flaky", ": a test is muted for 30 days at most")
    assert len(done.stderr.splitlines()) == 3 and listed(daemon) == {"ok": ("muted", "file")}


def test_a_full_quarantine_changes_places(daemon, tmp_path):
    """The cap holds for what is muted in the end, not on the way there."""
    tests = ["t%d" % i for i in range(40)]
    suite = make_suite(tmp_path, {"list": "\n".join(tests) + "\n", "run.sh": "exit 0\n"})
    assert run_build(daemon, suite, "first") == [0]
    path = tmp_path / "quarantine.yml"
    for names in (tests[:20], tests[20:]):
        path.write_text("".join(ENTRY % (name, day(10)) for name in names))
        mute(daemon, "import", path)
        assert sorted(row["test"] for row in daemon.json("quarantine", "list", "--limit", "99")) == sorted(names)
    path.write_text("".join(ENTRY % (name, day(10)) for name in tests[:21]))
    assert refused(mute(daemon, "import", path, code=2), path, 58, "t19", "the test would be too many")
    assert len(daemon.json("quarantine", "list", "--limit", "99")) == 20


def day(ahead):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=ahead)).strftime("%Y-%m-%d")
