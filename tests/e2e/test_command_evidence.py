"""A test passed only if something shows that it ran: what the command runner takes for evidence, with real tools
(ctest, GoogleTest, perl's TAP, shell)."""
import subprocess
import textwrap

import pytest
from shardlib import attempts, clean_env, codes, make_suite, outputs, start_workers


def statuses(daemon):
    return {name: [row["status"] for row in rows] for name, rows in attempts(daemon).items()}


def run(daemon, suite, *options, command, n=1, **more):
    """The exit codes of n workers, and what they printed."""
    workers = start_workers(n, daemon, suite, args=["--runner", "command", *options], command=command, **more)
    return codes(workers), outputs(workers)


# ---- ctest

CTEST_LIST = ["--list", "ctest --test-dir build --show-only=json-v1", "--results", "junit:{tmp}/r.xml"]
CTEST_RUN = ["sh", "-c", 'ctest --test-dir build --output-junit "$1" -R "^($(paste -sd"|" "$2"))\\$"', "sh",
             "{tmp}/r.xml", "{file}"]


def cmake(tmp_path, lines):
    text = "cmake_minimum_required(VERSION 3.10)\nproject(p NONE)\nenable_testing()\n" + textwrap.dedent(lines)
    suite = make_suite(tmp_path, {"CMakeLists.txt": text})
    subprocess.run(["cmake", "-S", ".", "-B", "build"], cwd=str(suite), env=clean_env(), check=True,
                   stdout=subprocess.DEVNULL)
    return suite


def test_ctest_not_run_is_an_error(daemon, tmp_path):
    """One test is not there, one is flaky, and ctest exits with 8 as long as the first is not there."""
    suite = cmake(tmp_path, """
        add_test(NAME ok COMMAND true)
        add_test(NAME gone COMMAND /no/such/program)
        add_test(NAME flaky COMMAND sh -c
                 "test -e ${CMAKE_BINARY_DIR}/once || { touch ${CMAKE_BINARY_DIR}/once; exit 1; }")
        """)
    code, printed = run(daemon, suite, *CTEST_LIST, "--retries", "1", command=CTEST_RUN)
    assert code == [1], printed
    found = statuses(daemon)
    assert found["ok"] == ["passed"] and found["flaky"] == ["failed", "passed"]
    assert found["gone"] == ["error", "error"]
    assert "Unable to find executable" in attempts(daemon)["gone"][-1]["text"]


def test_ctest_skips_and_what_could_not_run(daemon, tmp_path):
    suite = cmake(tmp_path, """
        add_test(NAME files COMMAND true)
        set_tests_properties(files PROPERTIES REQUIRED_FILES /no/such/file)
        add_test(NAME setup COMMAND false)
        set_tests_properties(setup PROPERTIES FIXTURES_SETUP F)
        add_test(NAME needs COMMAND true)
        set_tests_properties(needs PROPERTIES FIXTURES_REQUIRED F)
        add_test(NAME folder COMMAND true WORKING_DIRECTORY /no/such/folder)
        add_test(NAME off COMMAND true)
        set_tests_properties(off PROPERTIES DISABLED TRUE)
        add_test(NAME code COMMAND sh -c "exit 77")
        set_tests_properties(code PROPERTIES SKIP_RETURN_CODE 77)
        add_test(NAME words COMMAND echo SKIPME)
        set_tests_properties(words PROPERTIES SKIP_REGULAR_EXPRESSION SKIPME)
        """)
    code, printed = run(daemon, suite, *CTEST_LIST, command=CTEST_RUN)
    assert code == [1], printed
    assert {name: rows[-1] for name, rows in statuses(daemon).items()} == {
        "files": "error", "setup": "failed", "needs": "error", "folder": "error", "off": "skipped", "code": "skipped",
        "words": "skipped"}


# ---- an exit status and the failures that explain it

HIDDEN = {"list": "a\nflaky\nb\n", "run.sh": """
    echo 1..$#
    code=$(cat code)
    for t; do
        if test "$t" = flaky && ! test -e once; then touch once; echo "not ok $t"; code=1; else echo "ok $t"; fi
    done
    exit $code
    """}


@pytest.mark.parametrize("hidden, expected", [("0", 0), ("3", 1)])
def test_a_retried_failure_does_not_hide_an_exit_status(daemon, tmp_path, hidden, expected):
    suite = make_suite(tmp_path, dict(HIDDEN, code=hidden))
    code, printed = run(daemon, suite, "--list-file", "list", "--results", "tap", "--retries", "1",
                        command=["sh", "run.sh", "{}"])
    assert code == [expected], printed
    assert statuses(daemon) == {"a": ["passed"], "b": ["passed"], "flaky": ["failed", "passed"]}
    if expected:
        assert "exit status 3 when the tests that had passed ran again without those that failed" in printed
        assert "its tests: 'a', 'b'" in printed or "its tests: 'flaky'" in printed


@pytest.mark.parametrize("hidden, expected", [("0", 0), ("3", 1)])
def test_a_failure_of_the_confirming_run_hides_none_either(daemon, tmp_path, hidden, expected):
    """Two tests fail in turn, and pass when they are tried again: only a process in which no test fails confirms."""
    suite = make_suite(tmp_path, {"list": "a\nfirst\nsecond\nb\n", "code": hidden, "run.sh": """
        echo 1..$#
        code=0
        for t; do test "$t" != b || code=$(cat code); done
        for t; do
            if test "$t" = first && ! test -e one; then touch one; echo "not ok $t"; code=1
            elif test "$t" = second && test -e one && ! test -e two; then touch two; echo "not ok $t"; code=1
            else echo "ok $t"; fi
        done
        exit $code
        """})
    code, printed = run(daemon, suite, "--list-file", "list", "--results", "tap", "--retries", "1",
                        command=["sh", "run.sh", "{}"])
    assert code == [expected], printed
    assert statuses(daemon)["first"] == ["failed", "passed"] and statuses(daemon)["a"] == ["passed"]


@pytest.mark.parametrize("hidden, expected", [("0", 0), ("3", 1)])
def test_a_muted_failure_does_not_hide_an_exit_status(daemon, tmp_path, hidden, expected):
    suite = make_suite(tmp_path, {"list": "a\nbad\nb\n", "run.sh": """
        echo 1..$#
        code=%s
        for t; do
            if test "$t" = bad; then echo "not ok $t"; code=1; else echo "ok $t"; fi
        done
        exit $code
        """ % hidden})
    options = ["--list-file", "list", "--results", "tap"]
    run(daemon, suite, *options, command=["sh", "run.sh", "{}"])
    daemon.shard("quarantine", "add", "bad", "--reason", "known", check=True)
    code, printed = run(daemon, suite, *options, command=["sh", "run.sh", "{}"], build="b2")
    assert code == [expected], printed


# As some tools write what fails outside of the tests: a row that is of none of them.
TEARDOWN = """
    out=$1; shift
    code=0
    {
        echo '<testsuite>'
        for t; do
            if test -e ../"$t"; then echo "<testcase name='$t'/>"; continue; fi
            echo "<testcase name='$t'><failure/></testcase>"
            code=1
        done
        test $code = 0 || echo "<testcase name='global teardown'><error message='database was corrupted'/></testcase>"
        echo '</testsuite>'
    } > "$out"
    %s
    exit $code
    """
TEARDOWN_RUN = ["sh", "run.sh", "{tmp}/r.xml", "{}"]


def test_a_muted_failure_hides_no_failure_outside_of_tests(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "a\n", "run.sh": TEARDOWN % ""})
    options = ["--list-file", "list", "--results", "junit:{tmp}/r.xml"]
    assert run(daemon, suite, *options, command=TEARDOWN_RUN)[0] == [1]
    daemon.shard("quarantine", "add", "a", "--reason", "known", check=True)
    code, printed = run(daemon, suite, *options, command=TEARDOWN_RUN, build="b2")
    assert code == [1] and "failed outside of them: 'global teardown'" in printed, printed
    assert daemon.shard("wait", "--build", "b2").returncode == 1


@pytest.mark.parametrize("tests", ["a", "ab"])
def test_a_retried_failure_hides_no_failure_outside_of_tests(daemon, tmp_path, tests):
    suite = make_suite(tmp_path, {"list": "".join(test + "\n" for test in tests),
                                  "run.sh": TEARDOWN % 'for t; do touch ../"$t"; done'})
    code, printed = run(daemon, suite, "--list-file", "list", "--results", "junit:{tmp}/r.xml", "--retries", "1",
                        command=TEARDOWN_RUN)
    assert statuses(daemon) == {test: ["failed", "passed"] for test in tests}
    assert code == [1] and "failed outside of them: 'global teardown'" in printed, printed
    assert daemon.shard("wait", "--build", "b1").returncode == 1


RERUN = {"CMakeLists.txt": """
    cmake_minimum_required(VERSION 3.10)
    project(p NONE)
    enable_testing()
    add_test(NAME a COMMAND true)
    add_test(NAME bad COMMAND test -e ${CMAKE_SOURCE_DIR}/good)
    add_test(NAME b COMMAND true)
    """, "run.sh": """
    echo run >> ../processes
    ctest --test-dir build --output-junit "$1" -R "^($(paste -sd"|" "$2"))\\$"
    code=$?
    if grep -q b$ "$2" && test -e hidden; then exit 3; fi
    exit $code
    """}


@pytest.mark.parametrize("hidden", [False, True])
def test_a_rerun_clears_a_failure_and_no_exit_status(daemon, tmp_path, hidden):
    """A test fails for good in the first attempt, and passes in the second one. The status that its batch ended with is
    the failure's, or hides that of something else."""
    suite = make_suite(tmp_path, dict(RERUN, **({"hidden": ""} if hidden else {})))
    subprocess.run(["cmake", "-S", ".", "-B", "build"], cwd=str(suite), env=clean_env(), check=True,
                   stdout=subprocess.DEVNULL)
    (suite / "list").write_text("a\nbad\nb\n")
    options = ["--list-file", "list", "--results", "junit:{tmp}/r.xml", "--order", "collection"]
    command = ["sh", "run.sh", "{tmp}/r.xml", "{file}"]
    code, printed = run(daemon, suite, *options, command=command, env={"SHARD_ATTEMPT": "1"})
    assert code == [1], printed
    assert (suite.parent / "processes").read_text() == "run\nrun\n"
    late = "exit status 3 when the tests that had passed ran again without those that failed; its tests: 'a', 'b'"
    assert (late in printed) == hidden, printed
    (suite / "good").touch()
    code, printed = run(daemon, suite, *options, command=command, env={"SHARD_ATTEMPT": "2"})
    assert code == [1 if hidden else 0], printed
    assert daemon.shard("wait", "--build", "b1").returncode == (1 if hidden else 0)


def test_a_hang_that_exits_with_0_is_an_error(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "a\nb\n", "run.py": """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with open(sys.argv[1], "w") as report:
            rows = "".join("<testcase name='%s'/>" % name for name in sys.argv[2:])
            report.write("<testsuite>%s</testsuite>" % rows)
        signal.pause()
        """})
    code, printed = run(daemon, suite, "--list-file", "list", "--results", "junit:{tmp}/r.xml",
                        "--timeout-per-test", "1s", command=["/usr/bin/python3", "run.py", "{tmp}/r.xml", "{}"])
    assert code == [1] and "exit status 0 (stopped: it ran longer than its limit" in printed, printed
    assert daemon.shard("wait", "--build", "b1").returncode == 1


# ---- rows without names

PERL = {"1.t": 'print "1..2\\nok 1 - a\\nok 2 - b\\n";\n', "2.t": 'print "1..1\\nnot ok 1 - c\\n"; exit 1;\n'}


def test_tap_rows_of_another_file(daemon, tmp_path):
    """`perl 1.t 2.t` runs the first file alone, whose rows are as many as the files."""
    suite = make_suite(tmp_path, PERL)
    code, printed = run(daemon, suite, "--list", "ls *.t", "--results", "tap", command=["perl"])
    assert code == [1], printed
    assert statuses(daemon) == {"1.t": ["passed"], "2.t": ["failed"]}


def test_a_tap_row_that_comes_twice_stands_for_no_other(daemon, tmp_path):
    """A forked child repeats its parent's row: as many rows as planned, but the third never came."""
    suite = make_suite(tmp_path, {"1.t": "echo 1..3; echo ok 1; echo ok 2; echo ok 2\n",
                                  "2.t": "echo 1..3; echo ok 2; echo ok 1; echo ok 3\n"})
    code, printed = run(daemon, suite, "--list", "ls *.t", "--results", "tap", command=["sh"])
    assert code == [1], printed
    assert statuses(daemon) == {"1.t": ["error"], "2.t": ["passed"]}


def test_tap_rows_in_order_when_asked_for(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "one\ntwo\n", "run.sh":
                                  'echo 1..$#; for t; do test $t = one && echo ok || echo not ok; done\n'})
    code, printed = run(daemon, suite, "--list-file", "list", "--results", "tap-in-order",
                        command=["sh", "run.sh", "{}"])
    assert code == [1], printed
    assert statuses(daemon) == {"one": ["passed"], "two": ["failed"]}


# ---- GoogleTest

GTEST = {"tests.cc": """
    #include <gtest/gtest.h>
    #include <unistd.h>
    TEST(Some, Crashes) { int *volatile nothing = nullptr; *nothing = 1; }
    TEST(Some, Hangs) { pause(); }
    TEST(Some, Fails) { EXPECT_EQ(1, 2); }
    TEST(Some, Leaves) { _exit(0); }
    TEST(Some, Skips) { GTEST_SKIP() << "not here"; }
    """ + "\n    ".join("TEST(Good, T%02d) { usleep(2000); }" % i for i in range(8))}
GTEST_RUN = ["sh", "-c", './unit-tests --gtest_filter="$(paste -sd: "$1")" --gtest_output=xml:"$2"', "sh", "{file}",
             "{tmp}/r.xml"]


@pytest.fixture(scope="module")
def gtest(tmp_path_factory):
    suite = make_suite(tmp_path_factory.mktemp("gtest"), GTEST)
    subprocess.run(["c++", "-std=c++14", "-O0", "-o", "unit-tests", "tests.cc", "-lgtest", "-lgtest_main", "-pthread"],
                   cwd=str(suite), check=True)
    return suite


def gtest_run(daemon, gtest, tmp_path, names, *options):
    listing = tmp_path / "list"
    listing.write_text("".join(name + "\n" for name in names))
    return run(daemon, gtest, "--list-file", str(listing), "--results", "junit:{tmp}/r.xml", *options,
               command=GTEST_RUN)


GOOD = ["Good.T%02d" % i for i in range(8)]


def test_gtest_a_crash_takes_nobody_with_it(daemon, gtest, tmp_path):
    code, printed = gtest_run(daemon, gtest, tmp_path, [*GOOD[:4], "Some.Crashes", *GOOD[4:], "Some.Leaves"])
    assert code == [1], printed
    found = statuses(daemon)
    assert {name for name, rows in found.items() if rows == ["passed"]} == set(GOOD)
    assert found["Some.Crashes"] == ["crashed", "crashed"]
    assert "SIGSEGV" in attempts(daemon)["Some.Crashes"][-1]["text"]
    assert found["Some.Leaves"] == ["error"]


def test_gtest_a_hang_is_charged_to_nobody_else(daemon, gtest, tmp_path):
    code, printed = gtest_run(daemon, gtest, tmp_path, [*GOOD, "Some.Hangs", "Some.Skips"], "--timeout-per-test", "1s")
    assert code == [1], printed
    found = attempts(daemon)
    assert {name: rows[-1]["status"] for name, rows in found.items()} == dict(
        {name: "passed" for name in GOOD}, **{"Some.Hangs": "timed_out", "Some.Skips": "skipped"})
    assert all(row["call_us"] < 1000000 for name in GOOD for row in found[name])


def test_gtest_a_name_that_is_not_there(daemon, gtest, tmp_path):
    code, printed = gtest_run(daemon, gtest, tmp_path, ["Good.T00", "Good.Gone", "Some.Fails"])
    assert code == [1], printed
    assert statuses(daemon) == {"Good.T00": ["passed"], "Good.Gone": ["error"], "Some.Fails": ["failed"]}


def test_gtest_by_exit_status(daemon, gtest, tmp_path):
    """Without a report its own words show that nothing ran."""
    listing = tmp_path / "list"
    listing.write_text("Good.T00\nGood.Gone\n")
    code, printed = run(daemon, gtest, "--list-file", str(listing),
                        command=["sh", "-c", './unit-tests --gtest_filter="$1"', "sh", "{}"])
    assert code == [1], printed
    assert statuses(daemon) == {"Good.T00": ["passed"], "Good.Gone": ["error"]}
    assert "nothing ran" in attempts(daemon)["Good.Gone"][0]["text"]


# ---- durations

def test_a_file_takes_what_its_process_took(daemon, tmp_path):
    """Rows say 10 ms where a file costs much more: loading it, its hooks."""
    suite = make_suite(tmp_path, {"run.sh": """
        out=$1; shift
        for f; do sleep 0.2; rows="$rows<testcase name='works' file='$f' time='0.01'/>"; done
        echo "<testsuite>$rows</testsuite>" > "$out"
        """, "list": "".join("spec/%d_spec.rb\n" % i for i in range(10))})
    code, printed = run(daemon, suite, "--list-file", "list", "--results", "junit:{tmp}/r.xml",
                        command=["sh", "run.sh", "{tmp}/r.xml", "{}"])
    assert code == [0], printed
    took = [rows[0]["setup_us"] + rows[0]["call_us"] for rows in attempts(daemon).values()]
    assert len(took) == 10 and sum(took) >= 2000000
    assert all(us >= 100000 for us in took), took


# ---- heartbeats

def test_no_report_holds_up_heartbeats(make_daemon, tmp_path):
    """A report with one attribute of 40 MB, which takes the parser long: the lease lives on."""
    daemon = make_daemon(lease_ttl="2s", heartbeat="500ms")
    suite = make_suite(tmp_path, {"list": "one\ntwo\n", "run.sh": """
        { printf '<testsuite><testcase name="one"><failure message="'
          head -c 40000000 /dev/zero | tr '\\0' x
          printf '"/></testcase><testcase name="two"/></testsuite>'; } > "$1"
        exit 1
        """})
    code, printed = run(daemon, suite, "--list-file", "list", "--results", "junit:{tmp}/r.xml",
                        command=["sh", "run.sh", "{tmp}/r.xml", "{file}"])
    assert code == [1], printed
    assert statuses(daemon) == {"one": ["failed"], "two": ["passed"]}


# ---- words

def test_braces_in_a_script(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "one\n"})
    code, printed = run(daemon, suite, "--list-file", "list",
                        command=["sh", "-c", 'echo "{{}} {{tmp}} $1"; test "{{}}" = "{""}"', "sh", "{}"])
    assert code == [0], printed
    assert "{} {tmp} one" in printed
