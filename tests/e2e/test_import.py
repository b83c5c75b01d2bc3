"""Durations in and out: .test_durations, JUnit XML and CSV go in, make the first build balanced, and come out as they
went in; hostile files are refused with the place of the fault."""
import json
import random
import subprocess

import pytest
from shardlib import BARRIER, PROJECT, PYTEST, SHARD, barrier, clean_env, junit_cases, make_suite, run_workers

SUITE = "def test_a(): pass\ndef test_b(): pass\nclass TestK:\n    class TestI:\n        def test_c(self): pass\n"


def durations(n=80, files=8):
    """A skewed suite: a few tests take most of the time."""
    rng = random.Random(7)
    return {"tests/test_%d.py::test_%d" % (i * files // n, i): round(rng.paretovariate(1.1) / 10, 6) for i in range(n)}


def taken(daemon, *args, code=0, **options):
    done = daemon.shard("import", *args, **options)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def exported(daemon, *args):
    done = daemon.shard("export", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(path, known):
    path.write_text(json.dumps(known, sort_keys=True, indent=4) + "\n")
    return path


@pytest.mark.parametrize("form", ["durations", "junit", "csv"])
def test_round_trip(daemon, tmp_path, form):
    known = dict(durations(), **{'tests/test_0.py::test_p[a,"b" \u00e9::]': 1.5, "plain": 0.5,
                                 "tests/test_1.py::TestK::TestI::test_c": 2.25})
    taken(daemon, write(tmp_path / ".test_durations", known))
    path = tmp_path / {"durations": "out", "junit": "out.xml", "csv": "out.csv"}[form]
    assert exported(daemon, path) == ""
    done = taken(daemon, "--suite", "other", path)
    assert "%d tests of project %s, suite other" % (len(known), PROJECT) in done.stdout
    again = json.loads(exported(daemon, "--suite", "other"))
    assert again == known
    first, second = exported(daemon, "--format", form), exported(daemon, "--format", form, "--suite", "other")
    assert form == "junit" or first == second
    assert exported(daemon) == (tmp_path / ".test_durations").read_text()


def test_many_files_and_what_is_measured_stays(daemon, tmp_path):
    suite = make_suite(tmp_path, {"tests/test_a.py": SUITE})
    first = write(tmp_path / "one", {"tests/test_a.py::test_a": 100, "x": 5})
    second = write(tmp_path / "two", {"x": 7})
    taken(daemon, first, second)
    assert json.loads(exported(daemon)) == {"tests/test_a.py::test_a": 100, "x": 7}
    taken(daemon, write(tmp_path / "three", {"x": 8}))
    assert [worker.wait() for worker in run_workers(1, daemon, suite)] == [0]
    last = {row["test"]: row["last_us"] for row in daemon.json("slow")}
    assert last["tests/test_a.py::test_a"] < 10e6 and last["x"] == 8e6
    taken(daemon, first)
    again = json.loads(exported(daemon))
    assert again["tests/test_a.py::test_a"] < 100 and again["x"] == 5 and len(again) == 4


def test_junit_of_pytest(daemon, tmp_path):
    suite = make_suite(tmp_path, {"tests/test_a.py": SUITE + "def test_bad(): assert 0\n"})
    path = suite / "kept.xml"
    subprocess.run(PYTEST + ["--junitxml=%s" % path], cwd=str(suite), env=clean_env(), stdout=subprocess.DEVNULL)
    done = taken(daemon, path, cwd=str(suite))
    assert "3 tests" in done.stdout and "1 case did not pass" in done.stdout
    assert set(json.loads(exported(daemon))) == {
        "tests/test_a.py::test_a", "tests/test_a.py::test_b", "tests/test_a.py::TestK::TestI::test_c"}
    assert len(junit_cases(path)) == 4
    assert "3 tests are left out" in taken(daemon, path, code=2).stderr  # not at the top of the checkout


def makespan_ratio(database, suite, known):
    """Of the plan for four workers, by what the tests really take: the longest worker over the lower bound. Each file
    holds one test, so that the plan names it."""
    done = subprocess.run([SHARD, "local", "-n", "4", "--dry-run", "--history", database, "--"] + PYTEST,
                          cwd=str(suite), env=clean_env(SHARD_PROJECT=PROJECT), universal_newlines=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr
    loads, seen = {}, []
    for worker, *_, what in (line.split() for line in done.stdout.splitlines() if " test_" in line):
        seen.append(what)
        loads[worker] = loads.get(worker, 0) + known[what]
    assert sorted(seen) == sorted(known)
    return max(loads.values()) / max(sum(known.values()) / 4, max(known.values()))


def test_an_import_balances_the_first_build(daemon, tmp_path):
    rng = random.Random(7)
    known = {"test_%02d.py" % i: round(rng.expovariate(0.1), 3) for i in range(40)}
    suite = make_suite(tmp_path, {path: "def test_one(): pass\n" for path in known})
    before = makespan_ratio(tmp_path / "none.db", suite, known)
    taken(daemon, write(tmp_path / ".test_durations", {path + "::test_one": us for path, us in known.items()}))
    assert daemon.stop() == 0
    after = makespan_ratio(daemon.database, suite, known)
    print("makespan / lower bound on four workers: %.3f without, %.3f with the import" % (before, after))
    assert after <= 1.05 < before


def test_the_first_build_runs_by_the_import(daemon, tmp_path):
    """A real build, whose tests sleep: with the import the longest begin first, and it is known what it will take."""
    rng, count = random.Random(7), 40
    known = {"test_%02d.py" % i: round(rng.expovariate(12), 3) for i in range(count)}
    suite = make_suite(tmp_path, dict({"conftest.py": BARRIER}, **{
        path: "import time\ndef test_one(): time.sleep(%s)\n" % s for path, s in known.items()}))
    taken(daemon, "--suite", "told",
          write(tmp_path / ".test_durations", {path + "::test_one": s for path, s in known.items()}))
    rank = {path + "::test_one": place for place, path in enumerate(sorted(known, key=known.get, reverse=True))}

    def build_of(name):
        """Each worker's tests by their ranks, the longest being 0, in the order they began; and the build's row."""
        workers = run_workers(4, daemon, suite, env=barrier(tmp_path, 4), build=name,
                              args=["--suite", name, "--total", 4])
        orders = [[rank[test] for test in worker.ran()] for worker in workers]
        assert sorted(sum(orders, [])) == list(range(count))
        return orders, daemon.json("build", name, "--suite", name)["build"][0]

    bound = max(sum(known.values()) / 4, max(known.values()))
    orders, build = build_of("told")
    assert {order[0] for order in orders} == {0, 1, 2, 3}, "the four longest begin first, one on each worker"
    for order in orders:
        last_long = max([i for i, place in enumerate(order) if place < count // 4], default=-1)
        assert all(place < count // 2 for place in order[:last_long]), "a short one ran before a long one: %s" % order
    assert build["predicted_us"] == pytest.approx(bound * 1e6, abs=count)
    assert build["lower_bound_us"] >= build["longest_us"] >= max(known.values()) * 1e6
    assert build_of("untold")[1]["predicted_us"] is None


WEEK = "a test takes from 0 seconds to a week"


@pytest.mark.parametrize("bad, why", [
    ('{"a": 1,\n"b": x}', ":2: "), ("[[\"a\", 1]", ":1: "), ("7", ":1: "), ('"a"', ":1: "),
    ("[" * 100000, "depth"), ("", ":1: "), ("{}", "no test with a duration"), ("[]", "no test with a duration"),
    ('{"a": -1}', "left out 1 of 1 row: "), ("[1, 2]", "left out 2 of 2 rows: "), ('{"a": 604801}', WEEK)])
def test_bad_durations(daemon, tmp_path, bad, why):
    path = tmp_path / "bad"
    path.write_text(bad)
    done = taken(daemon, path, code=2)
    assert why in done.stderr and len(done.stderr) < 1500, done.stderr
    assert daemon.shard("export").returncode == 2  # nothing was kept


# Each is one row among good ones; the reason names the file and the line.
ODD = ["-1", "-0.001", "null", "NaN", "Infinity", "-Infinity", "1652811173.47", "604800.1", "1e308", "1e400", "-1e400",
       '"1"', "[1]", "{}", "true", "1" * 400]
ODD_IDS = ["", "a\\nb", "a" * 5000, "\\udc80", "\\ud83d", "\\ud83dx", "a\\u0000"]


@pytest.mark.parametrize("form", ["object", "list"])
@pytest.mark.parametrize("odd", ['"odd": %s' % value for value in ODD] + ['"%s": 1' % name for name in ODD_IDS])
def test_one_odd_row_of_durations_costs_itself(daemon, tmp_path, form, odd):
    text = '{"a.py::t": 0.5,\n%s,\n"a.py::u": 2}' % odd
    if form == "list":
        text = '[["a.py::t", 0.5],\n[%s],\n["a.py::u", 2]]' % odd.replace('": ', '", ')
    (tmp_path / ".test_durations").write_text(text)
    done = taken(daemon, tmp_path / ".test_durations")
    assert "shard import: left out 1 of 3 rows: %s:" % (tmp_path / ".test_durations") in done.stderr, done.stderr
    assert WEEK in done.stderr or "this is not a test id" in done.stderr
    assert done.stdout.startswith("2 tests of project ")
    assert json.loads(exported(daemon)) == {"a.py::t": 0.5, "a.py::u": 2}


def test_a_frozen_clock_in_durations(daemon, tmp_path):
    """What pytest-split writes when a suite freezes the clock."""
    (tmp_path / ".test_durations").write_text(
        '{"a.py::t": 1652811173.47, "a.py::u": 0.1, "a.py::v": 0.2, "a.py::w": -3, "a.py::x": null}')
    done = taken(daemon, tmp_path / ".test_durations")
    assert "left out 3 of 5 rows: %s:1: a.py::t: %s; ..." % (tmp_path / ".test_durations", WEEK) in done.stderr
    assert json.loads(exported(daemon)) == {"a.py::u": 0.1, "a.py::v": 0.2}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("name, text", [
    (".test_durations", '{"\u00e4.py::t": 1.5}'), (".test_durations", '[["\u00e4.py::t", 1.5]]'),
    ("x.csv", "file,test,seconds\r\n\u00e4.py,t,1.5\r\n"),
    ("x.xml", '<?xml version="1.0" encoding="ENCODING"?>'
              '<testsuite><testcase name="\u00e4.py::t" time="1.5"/></testsuite>')])
def test_byte_order_marks(daemon, tmp_path, encoding, name, text):
    (tmp_path / name).write_bytes(text.replace("ENCODING", encoding[:6].rstrip("-")).encode(encoding))
    assert taken(daemon, tmp_path / name).stderr == ""
    assert json.loads(exported(daemon)) == {"\u00e4.py::t": 1.5}


def test_bytes_that_are_not_utf8_cost_their_row(daemon, tmp_path):
    (tmp_path / "d").write_bytes(b'{"a": 1, "caf\xe9": 2, "b": 3}')
    assert "left out 1 of 3 rows" in taken(daemon, tmp_path / "d").stderr
    assert json.loads(exported(daemon)) == {"a": 1, "b": 3}


@pytest.mark.parametrize("times, expected", [
    (["0,123", "1,234"], [0.123, 1.234]), (["1,234", "0,5"], [1.234, 0.5]), (["1,234", "0.5"], [1234, 0.5]),
    (["1,234"], [1234]), (["1,234.5"], [1234.5]), (["1.234,5", "12,5"], [1234.5, 12.5]), (["123,456.25"], [123456.25])])
@pytest.mark.parametrize("name", ["x.xml", "x.csv"])
def test_commas(daemon, tmp_path, times, expected, name):
    text = "file,test,seconds\n" + "".join(',t%d,"%s"\n' % row for row in enumerate(times))
    if name == "x.xml":
        cases = "".join('<testcase name="t%d" time="%s"/>' % row for row in enumerate(times))
        text = "<testsuite>%s</testsuite>" % cases
    (tmp_path / name).write_text(text)
    assert taken(daemon, tmp_path / name).stderr == ""
    known = json.loads(exported(daemon))
    assert [known["t%d" % i] for i in range(len(times))] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("time", ["-1", "nan", "inf", "1e308", "1e400", "604801", "x", "0x10", "1,23,456"])
@pytest.mark.parametrize("name", ["x.xml", "x.csv"])
def test_one_odd_time_costs_its_row(daemon, tmp_path, time, name):
    text = 'file,test,seconds\n,a,1\n,b,"%s"\n' % time
    if name == "x.xml":
        text = '<testsuite><testcase name="a" time="1"/><testcase name="b" time="%s"/></testsuite>' % time
    (tmp_path / name).write_text(text)
    assert "left out 1 of 2 rows: %s" % (tmp_path / name) in taken(daemon, tmp_path / name).stderr
    assert json.loads(exported(daemon)) == {"a": 1}


def test_an_illegal_character_costs_no_other_case(daemon, tmp_path):
    (tmp_path / "x.xml").write_bytes(b'<testsuite><testcase name="a" time="1"/>\n<testcase name="b" time="2">'
                                     b'<system-out>\x1b[1m caf\xe9</system-out></testcase></testsuite>')
    done = taken(daemon, tmp_path / "x.xml")
    assert "x.xml: 2 characters that XML does not allow were replaced, the first in line 2" in done.stderr
    assert json.loads(exported(daemon)) == {"a": 1, "b": 2}


@pytest.mark.parametrize("name, bad, why", [
    ("x.xml", "<testsuite>\n<testcase", "line 2"), ("x.xml", "<!DOCTYPE a []>\n<testsuite/>", "DOCTYPE"),
    ("x.csv", "file,test\n", ":1:1"), ("x.csv", "file,test,seconds\n", "no test stands below"),
    ("x.csv", "file,test,seconds\n,a,x\n", ":2:4")])
def test_bad_reports(daemon, tmp_path, name, bad, why):
    (tmp_path / name).write_text(bad)
    assert why in taken(daemon, tmp_path / name, code=2).stderr


def test_nothing_to_read(daemon, tmp_path):
    assert "No such file" in taken(daemon, tmp_path / "none", code=2).stderr
    assert "is missing" in taken(daemon, code=2).stderr
    assert "nothing is known" in daemon.shard("export").stderr
    taken(daemon, write(tmp_path / "one", {"a": 1}))
    done = daemon.shard("export", tmp_path / "no" / "folder")
    assert done.returncode == 16 and "cannot write" in done.stderr
