"""The command runner: any test tool, a process per batch. Shell scripts by their exit status, bats by TAP, ctest and
pytest by JUnit XML; and that silence is never taken for success."""
import os
import signal
import subprocess

import pytest
from shardlib import (PYTHON, Worker, attempts, clean_env, codes, eventually, make_suite, outputs, start_workers,
                      verdicts)

NO_VERDICT = {None, "missing"}  # not yet, or for good


def scripts(tmp_path, **bodies):
    """A folder t/ of shell scripts."""
    suite = make_suite(tmp_path, {"t/%s.sh" % name: body for name, body in bodies.items()})
    return suite


def run(daemon, suite, *options, command, n=1, **more):
    workers = start_workers(n, daemon, suite, args=["--runner", "command", *options], command=command, **more)
    codes(workers)
    return workers


def code_of(workers):
    return [worker.process.returncode for worker in workers]


# ---- shell scripts, by exit status

SHELL = ["--list", "ls t/*.sh"]


def test_shell_scripts(daemon, tmp_path):
    """Each script is a test and a process; its output and its exit status are the result."""
    suite = scripts(tmp_path, good="exit 0", bad="echo this went wrong >&2; exit 3", killed="kill -9 $$",
                    **{"t%02d" % i: "echo script %d" % i for i in range(20)})
    workers = run(daemon, suite, *SHELL, command=["sh", "{}"], n=2)
    found = attempts(daemon)
    statuses = {name: rows[-1]["status"] for name, rows in found.items()}
    assert len(statuses) == 23
    assert {name for name, status in statuses.items() if status != "passed"} == {"t/bad.sh", "t/killed.sh"}
    assert statuses["t/bad.sh"] == "failed"
    assert statuses["t/killed.sh"] == "crashed"
    assert "this went wrong" in found["t/bad.sh"][0]["text"] and "exit status 3" in found["t/bad.sh"][0]["text"]
    assert "SIGKILL" in found["t/killed.sh"][0]["text"]
    assert set(code_of(workers)) <= {0, 1} and 1 in code_of(workers), outputs(workers)
    printed = outputs(workers)
    assert all("script %d" % i in printed for i in range(20)), "the output is passed on"


def test_all_scripts_pass(daemon, tmp_path):
    suite = scripts(tmp_path, a="exit 0", b="exit 0")
    workers = run(daemon, suite, *SHELL, command=["sh", "{}"])
    assert code_of(workers) == [0], outputs(workers)


def test_what_a_script_knows(daemon, tmp_path):
    """Its place in the build stands in the environment; the token does not."""
    suite = scripts(tmp_path, a="echo at=$SHARD_NODE,$SHARD_BUILD,$SHARD_BATCH token=$SHARD_TOKEN.; exit 1")
    run(daemon, suite, *SHELL, command=["sh", "{}"], env={"SHARD_TOKEN": "secret-of-16-bytes"})
    assert "at=0,b1,1 token=." in attempts(daemon)["t/a.sh"][0]["text"]


def test_ids_are_words_not_shell(daemon, tmp_path):
    """An id is one argument, whatever it holds."""
    evil = ["a b", "$(touch pwned)", "; touch pwned;", "'quote", '"double', "-n", "{}", "*", "ü", "back\\slash"]
    suite = make_suite(tmp_path, {"list": "\n".join(evil) + "\n",
                                  "run.sh": 'test $# -eq 1 || exit 9\nprintf "<%s>" "$1"\nexit 1\n'})
    run(daemon, suite, "--list-file", "list", command=["sh", "run.sh", "{}"])
    found = attempts(daemon)
    assert set(found) == set(evil)
    for name, rows in found.items():
        assert "<%s>" % name in rows[0]["text"], rows[0]["text"]
    assert not (suite / "pwned").exists()


def test_ids_stand_at_the_end_without_a_place(daemon, tmp_path):
    suite = scripts(tmp_path, a="exit 0")
    assert code_of(run(daemon, suite, *SHELL, command=["sh"])) == [0]


def test_ids_in_a_file(daemon, tmp_path):
    """{file} names a file of ids, one a line; {node} and {batch} are where it runs."""
    suite = make_suite(tmp_path, {"list": "one\ntwo words\n",
                                  "run.sh": 'cat "$1"; echo "node $2"; exit 1\n'})
    run(daemon, suite, "--list-file", "list", command=["sh", "run.sh", "{file}", "{node}"])
    found = attempts(daemon)
    assert "two words\nnode 0" in found["two words"][0]["text"]
    assert "one\nnode 0" in found["one"][0]["text"]


def test_a_retry_goes_to_another_worker(daemon, tmp_path):
    suite = scripts(tmp_path, flaky='test "$SHARD_NODE" != "$(cat first 2>/dev/null)" && test -e first && exit 0\n'
                                    'echo "$SHARD_NODE" > first; exit 1', **{"t%d" % i: "exit 0" for i in range(4)})
    workers = run(daemon, suite, *SHELL, "--retries", "1", command=["sh", "{}"], n=2)
    assert code_of(workers) == [0, 0], outputs(workers)
    rows = attempts(daemon)["t/flaky.sh"]
    assert [row["status"] for row in rows] == ["failed", "passed"]


def test_a_script_that_hangs(daemon, tmp_path):
    suite = scripts(tmp_path, a="exit 0", hung="echo before; sleep 600")
    workers = run(daemon, suite, *SHELL, "--timeout-per-test", "1s", command=["sh", "{}"])
    assert code_of(workers) == [1], outputs(workers)
    found = attempts(daemon)
    assert found["t/a.sh"][0]["status"] == "passed"
    assert found["t/hung.sh"][0]["status"] == "timed_out"
    assert "before" in found["t/hung.sh"][0]["text"]


def test_a_signal_ends_the_script(daemon, tmp_path):
    suite = scripts(tmp_path, a="touch started; sleep 600")
    worker = Worker(daemon, suite, args=SHELL, command=["sh", "{}"])
    eventually((suite / "started").exists, what="the script")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 128 + signal.SIGTERM
    assert verdicts(daemon)["t/a.sh"] in NO_VERDICT


# ---- lists

def test_every_job_lists(daemon, tmp_path):
    """The same commit may still hold other tests, which would be lost; a job without a list takes the others'."""
    suite = scripts(tmp_path, a="test -e ../go || while ! test -e go; do sleep 0.05; done", b="exit 0")
    listing = ["--list", "echo listed >> listings; ls t/*.sh", "--commit", "4f1d2c3b"]
    first = Worker(daemon, suite, node="0", args=["--runner", "command", *listing], command=["sh", "{}"])
    eventually(lambda: daemon.json("status") and daemon.json("status")[0]["total"] == 2, what="the list")
    second = Worker(daemon, suite, node="1", args=["--runner", "command", *listing], command=["sh", "{}"])
    eventually(lambda: daemon.json("status")[0]["done"] == 1, what="the other test is done")
    third = Worker(daemon, suite, node="2", args=["--runner", "command", *listing[2:]], command=["sh", "{}"])
    (suite / "go").touch()
    assert codes([first, second, third]) == [0, 0, 0], outputs([first, second, third])
    assert (suite / "listings").read_text() == "listed\n" * 2


@pytest.mark.parametrize("listing, said", [
    ("echo a; echo a", '"a"'),
    ("printf 'a\\000b\\n'", "NUL"),
    ("head -c 5000 /dev/zero | tr '\\0' x", "4096"),
    ("ls of-nothing; exit 4", "list command `ls of-nothing; exit 4` exited with 4"),
    ("false", "list command `false` exited with 1"),
    ("no-such-program --list", "list command `no-such-program --list` exited with 127"),
    ("./plain", "list command `./plain` exited with 126"),
])
def test_a_broken_list(daemon, tmp_path, listing, said):
    """It will be as broken the next time: the user's command is named, and the exit code is not that of a retry."""
    workers = run(daemon, make_suite(tmp_path, {"plain": "no program\n"}), "--list", listing, command=["true"])
    assert code_of(workers) == [2], outputs(workers)
    assert said in outputs(workers)


def test_a_list_that_was_killed(daemon, tmp_path):
    workers = run(daemon, make_suite(tmp_path, {}), "--list", "kill -9 $$", command=["true"])
    assert code_of(workers) == [16], outputs(workers)
    assert "list command `kill -9 $$` was killed by SIGKILL" in outputs(workers)


def test_a_list_of_nothing(daemon, tmp_path):
    workers = run(daemon, make_suite(tmp_path, {}), "--list", "true", command=["true"])
    assert code_of(workers) == [5], outputs(workers)


def test_a_list_file_that_is_not_there(daemon, tmp_path):
    workers = run(daemon, make_suite(tmp_path, {}), "--list-file", "none.txt", command=["true"])
    assert code_of(workers) == [2]
    assert "none.txt" in outputs(workers) and "No such file" in outputs(workers)


def test_a_list_that_takes_too_long(daemon, tmp_path):
    workers = run(daemon, make_suite(tmp_path, {}), "--list", "sleep 600", "--start-timeout", "1s", command=["true"])
    assert code_of(workers) == [16]
    assert "took longer than 1 s" in outputs(workers)


@pytest.mark.parametrize("options, command, said", [
    ([], ["true"], "--list"),
    (["--list", "ls"], ["sh", "-c", "run {}"], '"$@"'),
    (["--list", "ls"], ["sh", "-c", "f() { {} }"], "Write {{}} where the command is to get the text {}"),
    (["--list", "ls", "--results", "guess"], ["true"], "junit:PATH"),
])
def test_what_the_user_got_wrong(daemon, tmp_path, options, command, said):
    workers = run(daemon, make_suite(tmp_path, {}), *options, command=command)
    assert code_of(workers) == [2], outputs(workers)
    assert said in outputs(workers)


# ---- bats, by TAP

BATS = {
    "suite.bats": '''
@test "adds" { [ $((1 + 1)) -eq 2 ]; }
@test "fails" { echo "its output"; false; }
@test "is skipped" { skip "not on this machine"; }
@test "has (odd) [name] *" { true; }
@test "is last" { true; }
''',
    "list.sh": "sed -n 's/^@test \"\\(.*\\)\" {.*/\\1/p' suite.bats | sed 's/\\\\//g'\n",
    # the ids of {file} as one anchored regular expression
    "run.sh": '''
titles=$(sed 's/[][()*.$^+?{}|\\\\]/\\\\&/g' "$1" | paste -sd '|')
exec bats --formatter tap -f "^($titles)\\$" suite.bats
''',
}


def test_bats_by_tap(daemon, tmp_path):
    suite = make_suite(tmp_path, BATS)
    workers = run(daemon, suite, "--list", "sh list.sh", "--results", "tap", command=["sh", "run.sh", "{file}"], n=2)
    found = attempts(daemon)
    assert {name: rows[-1]["status"] for name, rows in found.items()} == {
        "adds": "passed", "fails": "failed", "is skipped": "skipped", "has (odd) [name] *": "passed",
        "is last": "passed"}, outputs(workers)
    assert "its output" in found["fails"][0]["text"]
    assert "not on this machine" in found["is skipped"][0]["text"]
    assert sorted(code_of(workers)) in ([0, 1], [1, 1])


def test_bats_files_by_exit_status(daemon, tmp_path):
    suite = make_suite(tmp_path, {"good.bats": '@test "a" { true; }\n@test "b" { true; }\n',
                                  "bad.bats": '@test "a" { true; }\n@test "b" { echo why; false; }\n'})
    run(daemon, suite, "--list", "ls *.bats", command=["bats", "{}"])
    found = attempts(daemon)
    assert {name: rows[0]["status"] for name, rows in found.items()} == {"bad.bats": "failed", "good.bats": "passed"}
    assert "why" in found["bad.bats"][0]["text"]


# ---- ctest, by JUnit XML

CTEST = {
    "CMakeLists.txt": '''
cmake_minimum_required(VERSION 3.25)
project(shown LANGUAGES NONE)
enable_testing()
foreach(i RANGE 1 6)
  add_test(NAME good_${i} COMMAND ${CMAKE_COMMAND} -E echo "this is ${i}")
endforeach()
add_test(NAME bad COMMAND sh -c "echo it went wrong; exit 1")
add_test(NAME skipped COMMAND sh -c "exit 77")
set_tests_properties(skipped PROPERTIES SKIP_RETURN_CODE 77)
''',
    "run.sh": '''
exec ctest --test-dir build --no-tests=error --output-junit "$2" -R "^($(paste -sd '|' "$1"))\\$"
''',
}


def test_ctest_by_junit(daemon, tmp_path):
    suite = make_suite(tmp_path, CTEST)
    subprocess.run(["cmake", "-S", ".", "-B", "build"], cwd=str(suite), env=clean_env(), check=True,
                   stdout=subprocess.DEVNULL)
    listing = "ctest --test-dir build -N | sed -n 's/^ *Test *#[0-9]*: //p'"
    workers = run(daemon, suite, "--list", listing, "--results", "junit:{tmp}/r.xml",
                  command=["sh", "run.sh", "{file}", "{tmp}/r.xml"], n=2)
    found = attempts(daemon)
    expected = {"good_%d" % i: "passed" for i in range(1, 7)}
    expected.update(bad="failed", skipped="skipped")
    assert {name: rows[-1]["status"] for name, rows in found.items()} == expected, outputs(workers)
    assert "it went wrong" in found["bad"][0]["text"]
    assert 1 in code_of(workers)


# ---- pytest by command

PYTESTS = {"test_a.py": """
    import pytest
    def test_good():
        pass
    def test_bad():
        assert 'this' == 'that'
    def test_skipped():
        pytest.skip('why not')
    @pytest.fixture
    def broken():
        raise RuntimeError('in set-up')
    def test_error(broken):
        pass
    class TestClass:
        @pytest.mark.parametrize('text', ['a b', '::', 'x/y', '[z]'])
        def test_method(self, text):
            pass
""", "deep/er/test_b.py": "def test_good():\n    pass\n"}
COLLECT = "%s -m pytest --collect-only -q | grep ::" % PYTHON


def test_pytest_by_command(daemon, tmp_path):
    """A process per batch, as for tools that have no adapter; ids and outcomes are pytest's."""
    suite = make_suite(tmp_path, PYTESTS)
    workers = run(daemon, suite, "--list", COLLECT, "--results", "junit:{tmp}/r.xml", n=2,
                  command=[PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml={tmp}/r.xml", "{}"])
    found = verdicts(daemon)
    expected = {"test_a.py::TestClass::test_method[%s]" % text: "passed" for text in ("a b", "::", "x/y", "[z]")}
    expected.update({"test_a.py::test_good": "passed", "test_a.py::test_bad": "failed",
                     "test_a.py::test_error": "error", "test_a.py::test_skipped": "skipped",
                     "deep/er/test_b.py::test_good": "passed"})
    assert found == expected, outputs(workers)
    assert 1 in code_of(workers)


# ---- silence

def test_a_leased_test_without_a_row(make_daemon, tmp_path):
    """A tool that reports fewer tests than it was given: those are errors."""
    daemon = make_daemon(idle_timeout="500ms")
    suite = make_suite(tmp_path, {"list": "one\ntwo\nthree\n", "run.sh": """
        echo '<testsuite><testcase name="one"/></testsuite>' > "$1"/r.xml
        """})
    workers = run(daemon, suite, "--list-file", "list", "--results", "junit:{tmp}/r.xml",
                  command=["sh", "run.sh", "{tmp}", "{}"])
    assert code_of(workers) == [1], outputs(workers)
    found = attempts(daemon)
    assert {name: rows[-1]["status"] for name, rows in found.items()} == {
        "one": "passed", "two": "error", "three": "error"}
    assert "nothing shows that this test ran" in found["two"][0]["text"]
    waited = daemon.shard("wait")
    assert waited.returncode == 1, waited.stdout


@pytest.mark.parametrize("script, results, said", [
    ("exit 0", "junit:{tmp}/r.xml", "r.xml"),
    ("echo '<testsuite><testcase name=\"one\"' > \"$1\"/r.xml", "junit:{tmp}/r.xml", "r.xml"),
    ("echo hello", "tap", "plan"),
    ("echo 1..2; echo 'ok 1 one'", "tap", "plan"),
    ("echo 'Bail out! no database'", "tap", "no database"),
    ("echo '<testsuite><testcase name=\"other\"/></testsuite>' > \"$1\"/r.xml", "junit:{tmp}/r.xml", "'other'"),
])
def test_results_that_do_not_come(daemon, tmp_path, script, results, said):
    """A report that is not there, cut off, or of other tests."""
    suite = make_suite(tmp_path, {"list": "one\ntwo\n", "run.sh": script + "\n"})
    workers = run(daemon, suite, "--list-file", "list", "--results", results, command=["sh", "run.sh", "{tmp}", "{}"])
    assert code_of(workers) == [1], outputs(workers)
    found = attempts(daemon)
    assert found["two"][-1]["status"] == "error" and said in found["two"][-1]["text"]


@pytest.mark.parametrize("away", [False, True])
def test_a_broken_command_and_failures_of_its_own(daemon, tmp_path, away):
    """The runner gives up after three tests without a row. They failed, which no automatic retry shall forgive."""
    suite = make_suite(tmp_path, {"list": "".join("t%d\n" % i for i in range(6)), "run.sh": "exit 0\n"})
    args = ["--runner", "command", "--list-file", "list", "--results", "junit:{tmp}/r.xml"]
    env = {}
    if away:
        args += ["--fallback", "static", "--retried", "no", "--connect-timeout", "300ms"]
        env = {"SHARD_SERVER": "unix:%s/nobody" % tmp_path, "SHARD_TOTAL": "1"}
    workers = start_workers(1, daemon, suite, env=env, args=args, command=["sh", "run.sh"])
    codes(workers)
    assert code_of(workers) == [1], outputs(workers)
    assert "3 tests given to 'sh', each alone, have no result" in outputs(workers)


def test_a_report_of_an_earlier_run_is_not_taken(daemon, tmp_path):
    suite = make_suite(tmp_path, {"list": "one\n", "run.sh": "exit 0\n",
                                  "r.xml": '<testsuite><testcase name="one"/></testsuite>'})
    workers = run(daemon, suite, "--list-file", "list", "--results", "junit:r.xml", command=["sh", "run.sh"])
    assert code_of(workers) == [1], outputs(workers)
    assert verdicts(daemon)["one"] == "error"


def test_a_failing_exit_with_passing_rows(daemon, tmp_path):
    """Rows that all pass and an exit status that does not: something outside of the tests failed, and it shows."""
    suite = make_suite(tmp_path, {"list": "one\n", "run.sh": "echo 1..1; echo 'ok 1 one'; exit 1\n"})
    workers = run(daemon, suite, "--list-file", "list", "--results", "tap", command=["sh", "run.sh"])
    assert code_of(workers) != [0], outputs(workers)


def test_nothing_is_left_of_a_batch(daemon, tmp_path):
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    suite = make_suite(tmp_path, {"list": "one\ntwo\n",
                                  "run.sh": 'touch "$1"/mess; mkdir -p "$1"/deep/er; touch "$1"/deep/er/mess\n'})
    workers = run(daemon, suite, "--list-file", "list", command=["sh", "run.sh", "{tmp}", "{}"],
                  env={"TMPDIR": str(tmp)})
    assert code_of(workers) == [0], outputs(workers)
    assert os.listdir(tmp) == []
