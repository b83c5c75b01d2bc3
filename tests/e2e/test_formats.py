"""What test tools write, taken through the command runner: TAP that skips, byte order marks, encodings, characters that
XML does not allow, and paths as tools spell them."""
import os

import pytest
from shardlib import attempts, codes, make_suite, outputs, start_workers, verdicts


def run(daemon, suite, *options, command, **more):
    workers = start_workers(1, daemon, suite, args=["--runner", "command", *options], command=command, **more)
    codes(workers)
    return workers


def code_of(workers):
    return [worker.process.returncode for worker in workers]


def texts_of(daemon):
    return {test: row["text"] or "" for test, rows in attempts(daemon).items() for row in rows}


TAP = ["--list-file", "list", "--results", "tap"]
COPY = ["sh", "-c", "cp rows r.xml"]
JUNIT = ["--list-file", "list", "--results", "junit:r.xml"]


@pytest.mark.parametrize("plan, reason", [
    ("1..0 # SKIP no database", "no database"), ("1..0 # Skipped: no database", "no database"),
    ("\\357\\273\\2771..0 # skip no database", "no database"), ("TAP version 13\\n1..0 # SKIP", "")])
@pytest.mark.parametrize("results", ["tap", "tap:{tmp}/r.tap"])
def test_a_plan_that_skips_all(daemon, tmp_path, plan, reason, results):
    suite = make_suite(tmp_path, {"list": "one\n", "run.sh": "printf '%s\\n' | tee $1\n" % plan})
    workers = run(daemon, suite, "--list-file", "list", "--results", results, command=["sh", "run.sh", "{tmp}/r.tap"])
    assert code_of(workers) == [0], outputs(workers)
    assert verdicts(daemon) == {"one": "skipped"}
    assert reason in texts_of(daemon)["one"]


@pytest.mark.parametrize("script", [
    "echo 1..0", "echo '1..0 # SKIP x'; exit 1", "echo '1..0 # SKIP x'; echo not ok 1",
    "echo '1..0 # SKIP x'; kill -9 $$", "echo '1..0 # SKIP x'; echo Bail out!"])
def test_a_plan_of_nothing_is_not_a_skip(daemon, tmp_path, script):
    suite = make_suite(tmp_path, {"list": "one\n", "run.sh": script + "\n"})
    assert code_of(run(daemon, suite, *TAP, command=["sh", "run.sh"])) != [0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_marks_in_lists_and_tap(daemon, tmp_path, encoding):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    suite = make_suite(tmp_path, {"run.sh": "cat r.tap\n"})
    (suite / "list").write_bytes(mark + "\u00e4\r\nb\r\n".encode(encoding))
    (suite / "r.tap").write_bytes(mark + "1..2\r\nok 1 - \u00e4\r\nok 2 - b\r\n".encode(encoding))
    workers = run(daemon, suite, *TAP, command=["sh", "run.sh", "{file}"])
    assert code_of(workers) == [0], outputs(workers)
    assert verdicts(daemon) == {"\u00e4": "passed", "b": "passed"}


ROWS = '%s<testsuite><testcase name="a"/><testcase name="\u00e4"><failure message="h\u00e9"/></testcase></testsuite>'


@pytest.mark.parametrize("encoding, declared", [
    ("windows-1252", "windows-1252"), ("iso-8859-1", "ISO-8859-1"), ("iso-8859-15", "iso-8859-15"),
    ("utf-16", "utf-16"), ("utf-8-sig", "utf-8"), ("utf-8", "utf-16"), ("utf-16-le", None), ("utf-8", None)])
def test_encodings_of_junit(daemon, tmp_path, encoding, declared):
    declaration = '<?xml version="1.0" encoding="%s"?>\n' % declared if declared else ""
    suite = make_suite(tmp_path, {"list": "a\n\u00e4\n", "run.sh": "cp rows r.xml\n"})
    (suite / "rows").write_bytes((ROWS % declaration).encode(encoding))
    workers = run(daemon, suite, *JUNIT, command=["sh", "run.sh", "{file}"])
    assert code_of(workers) == [1], outputs(workers)
    assert verdicts(daemon) == {"a": "passed", "\u00e4": "failed"}
    assert texts_of(daemon)["\u00e4"] == "h\u00e9" and "results_lost" not in outputs(workers)


@pytest.mark.parametrize("odd", [
    b"\x1b[1m", b"\x00", b"caf\xe9", b"\xed\xa0\x80", b"&#27;", b"&#x0;", b"&nbsp;", b"a & b"])
def test_one_illegal_character_costs_itself(daemon, tmp_path, odd):
    suite = make_suite(tmp_path, {"list": "a\nb\nc\n", "run.sh": "cp rows r.xml\n"})
    (suite / "rows").write_bytes(b'<testsuite><testcase name="a"/>\n<testcase name="b"><failure message="x' + odd +
                                 b'y">z' + odd + b'</failure></testcase><testcase name="c"/></testsuite>')
    workers = run(daemon, suite, *JUNIT, command=["sh", "run.sh", "{file}"])
    assert code_of(workers) == [1], outputs(workers)
    assert verdicts(daemon) == {"a": "passed", "b": "failed", "c": "passed"}
    assert "results_lost" in outputs(workers) and "the first in line 2" in outputs(workers)


@pytest.mark.parametrize("spelling", [
    "{here}/t/ATest.php", "{link}/t/ATest.php", "./t/ATest.php", "file://{here}/t/ATest.php", ".//t/ATest.php",
    "t/ATest.php"])
@pytest.mark.parametrize("listed", ["t/ATest.php", "./t/ATest.php", "{here}/t/ATest.php"])
@pytest.mark.parametrize("form", ["junit", "tap"])
def test_paths_below_the_working_folder(daemon, tmp_path, spelling, listed, form):
    """As PHPUnit names files, and as a checkout behind a link does."""
    suite = make_suite(tmp_path, {"t/ATest.php": ""})
    link = tmp_path / "link"
    os.symlink(str(suite), str(link))
    names = {"here": str(suite), "link": str(link)}
    test = listed.format(**names)
    (suite / "list").write_text(test + "\nother\n")
    file = spelling.format(**names)
    (suite / "rows").write_text(
        '<testsuites><testcase name="other"><failure/></testcase><testsuite name="A" file="%s">'
        '<testcase name="testA" classname="ATest" file="%s"/></testsuite></testsuites>' % (file, file)
        if form == "junit" else "1..2\nnot ok 1 - other\nok 2 - %s\n" % file)
    options = JUNIT if form == "junit" else ["--list-file", "list", "--results", "tap:r.xml"]
    workers = run(daemon, suite, *options, command=COPY + ["{file}"])
    assert code_of(workers) == [1], outputs(workers)
    assert verdicts(daemon) == {test: "passed", "other": "failed"}


def test_a_file_of_that_name_elsewhere_is_another(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "t/ATest.php\n", "other/t/ATest.php": "", "rows":
                                  '<testsuite><testcase name="x" file="%s/other/t/ATest.php"/></testsuite>' % tmp_path})
    assert code_of(run(daemon, suite, *JUNIT, command=COPY)) != [0]
    assert verdicts(daemon)["t/ATest.php"] not in ("passed", "skipped")


@pytest.mark.parametrize("time", ["-1", "nan", "inf", "1e308", "1e400", "4294967296", "x"])
def test_a_time_that_is_none_is_not_taken(daemon, tmp_path, time):
    rows = '<testsuite><testcase name="a" time="%s"/></testsuite>' % time
    suite = make_suite(tmp_path, {"list": "a\n", "rows": rows})
    workers = run(daemon, suite, *JUNIT, command=COPY)
    assert code_of(workers) == [0], outputs(workers)
    assert all(row["call_us"] < 60e6 for row in attempts(daemon)["a"])


def test_a_long_text_in_an_attribute(daemon, tmp_path):
    """16 MB of an assertion; what goes over it is counted in tests/unit/test_xmltext.c."""
    script = ("print('<testsuite><testcase name=\"a\"><failure message=\"' + 'x' * (16 << 20) + "
              "'\"/></testcase></testsuite>')")
    suite = make_suite(tmp_path, {"list": "a\n", "rows.py": script, "run.sh": "python3 rows.py >r.xml\n"})
    workers = run(daemon, suite, *JUNIT, command=["sh", "run.sh"])
    assert code_of(workers) == [1], outputs(workers)
    assert verdicts(daemon) == {"a": "failed"}
