"""A failing fact is cleared only by running again what produced it: errors outside of tests, exit statuses that no test
explains, and jobs that are run again."""
import itertools
import os
import signal
import textwrap
import xml.etree.ElementTree as ElementTree

import pytest
from shardlib import (BARRIER, SHARD, Daemon, Process, Worker, attempts, barrier, clean_env, codes, eventually,
                      make_suite, outputs, verdicts)

SERVICE = '''
    import os
    import pytest

    @pytest.fixture(scope="session", autouse=True)
    def service():
        yield
        assert os.environ.get("WELL"), "the service left rows behind"

    def test_a():
        pass
'''
job_ids = itertools.count(1)


def github(attempt, node="0", total=1, **more):
    return dict({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "5", "GITHUB_JOB": "t", "GITHUB_REPOSITORY": "o/r",
                 "GITHUB_RUN_ATTEMPT": str(attempt), "SHARD_NODE": node, "SHARD_TOTAL": str(total),
                 "SHARD_PROJECT": None, "SHARD_BUILD": None}, **more)


def gitlab(attempt, node="0", total=1, **more):
    """GitLab does not tell that a job is run again: its id is a new one."""
    return dict({"GITLAB_CI": "true", "CI_PIPELINE_ID": "5", "CI_JOB_GROUP_NAME": "t", "CI_PROJECT_PATH": "o/r",
                 "CI_JOB_NAME": "t %d/%d" % (int(node) + 1, total), "CI_JOB_ID": str(next(job_ids)),
                 "CI_NODE_INDEX": str(int(node) + 1), "CI_NODE_TOTAL": str(total),
                 "SHARD_PROJECT": None, "SHARD_BUILD": None, "SHARD_NODE": None}, **more)


def alone(attempt):
    """A job of GitLab without `parallel`."""
    env = dict(gitlab(attempt), CI_JOB_NAME="t")
    del env["CI_NODE_INDEX"]
    return env


def entry(attempt):
    """One of a GitLab matrix: its index counts entries, not nodes."""
    return dict(gitlab(attempt, "1", 2), CI_JOB_NAME="t: [3.12]")


def job(daemon, suite, env, *args):
    return Worker(daemon, suite, node=None, build=None, env=env, args=args)


def wait(daemon):
    return daemon.shard("wait", "--build", "5/t", "--project", "o/r", timeout=30)


@pytest.mark.parametrize("variables", [github, gitlab])
def test_an_error_outside_of_tests_outlives_a_rerun_that_does_not_mend_it(tmp_path, daemon, variables):
    suite = make_suite(tmp_path, {"test_a.py": SERVICE})
    for attempt in (1, 2, 3):
        again = job(daemon, suite, variables(attempt))
        assert again.wait() == 1, again.output()
        assert again.ran() == ["test_a.py::test_a"]
        assert wait(daemon).returncode == 1
    assert "run again: 1 test that an earlier run" in again.output()
    again = job(daemon, suite, variables(4, WELL="1"))
    assert again.wait() == 0 and again.ran() == ["test_a.py::test_a"], again.output()
    assert wait(daemon).returncode == 0


@pytest.mark.parametrize("mode", ["auto", "unresolved", "mine", "all"])
def test_every_mode_runs_what_an_error_came_from(tmp_path, daemon, mode):
    suite = make_suite(tmp_path, {"test_a.py": SERVICE})
    for attempt, well in ((1, {}), (2, {}), (3, {"WELL": "1"})):
        again = job(daemon, suite, github(attempt, **well), "--on-retry", mode)
        assert again.wait() == (0 if well else 1), again.output()
        assert again.ran() == ["test_a.py::test_a"]
        assert wait(daemon).returncode == (0 if well else 1)


def test_a_restart_forgets_no_error_and_no_rerun(tmp_path, daemon):
    suite = make_suite(tmp_path, {"test_a.py": SERVICE})
    assert job(daemon, suite, github(1)).wait() == 1
    daemon.restart()
    assert wait(daemon).returncode == 1
    again = job(daemon, suite, github(2))
    assert again.wait() == 1 and again.ran() == ["test_a.py::test_a"]
    daemon.restart()
    assert wait(daemon).returncode == 1
    assert job(daemon, suite, github(3, WELL="1")).wait() == 0
    daemon.restart()
    assert wait(daemon).returncode == 0


AT_ITS_END = SERVICE.replace('assert os.environ.get("WELL")', '''if "AT_END" in os.environ:
            open(os.environ["AT_END"], "w").close()
            time.sleep(600)
        assert os.environ.get("WELL")''').replace("import os", "import os, time")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_rerun_that_does_not_come_to_its_end_clears_nothing(tmp_path, how, restarts):
    """Its tests have passed; what broke after them has not been tried."""
    daemon = Daemon(tmp_path, lease_ttl="4s", heartbeat="1s").start()
    suite = make_suite(tmp_path, {"test_a.py": AT_ITS_END})
    assert job(daemon, suite, github(1)).wait() == 1
    at_end = tmp_path / "at-end"
    again = job(daemon, suite, github(2, AT_END=str(at_end)))
    eventually(at_end.exists)
    if how == signal.SIGTERM:
        again.process.send_signal(how)
    else:
        os.killpg(again.process.pid, how)
    assert again.wait() not in (0, 1), again.output()
    assert again.ran() == ["test_a.py::test_a"]
    if restarts:
        daemon.restart()
    told = wait(daemon)
    assert told.returncode == 16 and ("stopped" if how == signal.SIGTERM else "vanished") in told.stdout, told
    last = job(daemon, suite, github(3, WELL="1"))
    assert last.wait() == 0 and last.ran() == ["test_a.py::test_a"], last.output()
    assert wait(daemon).returncode == 0


def test_every_report_has_the_error_until_it_is_cleared(tmp_path, daemon):
    """Whose exit code is red and whose reports are green tells two stories."""
    suite, xml = make_suite(tmp_path, {"test_a.py": SERVICE}), tmp_path / "report.xml"
    of = ("report", "--build", "5/t", "--project", "o/r")
    for attempt, well in ((1, None), (2, "1")):
        assert job(daemon, suite, github(attempt, WELL=well)).wait() == (0 if well else 1)
        shown, told = daemon.shard(*of).stdout, daemon.shard(*of, "--markdown").stdout
        annotated = daemon.shard(*of, "--annotate", "github").stdout
        assert daemon.shard(*of, "--junit", xml).returncode == 0
        root = ElementTree.parse(xml).getroot()
        case = root.find(".//testcase[@name='outside of any test (node 0)']")
        if well:
            assert case is None and root.get("errors") == "0"
            assert "outside of any test" not in shown + told + annotated
            assert shown.splitlines()[-1].startswith("1 passed in ") and told.startswith("### \u2705 1 passed in ")
            continue
        assert root.get("errors") == root.find("testsuite").get("errors") == "1"
        assert "the service left rows behind" in case.find("error").text
        assert "1 passed, 1 error in " in shown.splitlines()[-1] and "the service left rows behind" in shown
        assert told.startswith("### \u274c 1 passed, 1 error in ") and "the service left rows behind" in told
        assert "::error title=outside of any test (node 0)" in annotated


def test_only_its_own_job_clears_an_error(tmp_path, daemon):
    suite = make_suite(tmp_path, dict({"test_%d.py" % i: SERVICE for i in range(6)}, **{"conftest.py": BARRIER}))
    env = barrier(tmp_path, 2)
    jobs = [job(daemon, suite, github(1, node, 2, **dict(env, **well)))
            for node, well in (("0", {}), ("1", {"WELL": "1"}))]
    assert codes(jobs) == [1, 0], outputs(jobs)
    own = [sorted(each.ran()) for each in jobs]
    assert own[0] and own[1]
    other = job(daemon, suite, github(2, "1", 2, WELL="1"))
    assert other.wait() == 0 and sorted(other.ran()) == own[1], other.output()
    assert wait(daemon).returncode == 1
    again = job(daemon, suite, github(2, "0", 2, WELL="1"))
    assert again.wait() == 0 and sorted(again.ran()) == own[0], again.output()
    assert wait(daemon).returncode == 0


def test_a_job_without_a_name_runs_what_any_error_came_from(tmp_path, daemon):
    suite = make_suite(tmp_path, {"test_a.py": SERVICE})
    assert job(daemon, suite, github(1, node="")).wait() == 1
    again = job(daemon, suite, github(2, node=""))
    assert again.wait() == 1 and again.ran() == ["test_a.py::test_a"], again.output()
    again = job(daemon, suite, github(3, node="", WELL="1"))
    assert again.wait() == 0 and again.ran() == ["test_a.py::test_a"], again.output()
    assert wait(daemon).returncode == 0


SKIPS = '''
    import os
    import pytest

    @pytest.fixture(scope="session")
    def database():
        yield
        assert os.environ.get("WELL"), "rows are left"

    @pytest.mark.skipif("NO_DATABASE" in os.environ, reason="no database")
    def test_rows(database):
        pass

    @pytest.mark.skip(reason="never")
    def test_never():
        pass
'''


def test_a_skip_clears_no_error(tmp_path, daemon):
    """The machine of the second try cannot run what went wrong on the first."""
    suite = make_suite(tmp_path, {"test_a.py": SKIPS})
    assert job(daemon, suite, github(1)).wait() == 1
    again = job(daemon, suite, github(2, NO_DATABASE="1"))
    assert again.wait() == 1, again.output()
    assert wait(daemon).returncode == 1
    again = job(daemon, suite, github(3, WELL="1"))
    assert again.wait() == 0 and "test_a.py::test_rows" in again.ran(), again.output()
    assert wait(daemon).returncode == 0


# ---- a green build

EIGHT = {"test_%d.py" % i: "def test_one(): pass\ndef test_two(): pass\n" for i in range(4)}


@pytest.mark.parametrize("variables", [github, gitlab])
@pytest.mark.parametrize("nodes", [1, 3])
def test_all_jobs_of_a_green_build_run_everything_again(tmp_path, daemon, variables, nodes):
    suite = make_suite(tmp_path, dict(EIGHT, **{"conftest.py": BARRIER}))
    for attempt in (1, 2, 3):
        (tmp_path / str(attempt)).mkdir()
        env = barrier(tmp_path / str(attempt), nodes) if attempt == 1 else {}
        jobs = [job(daemon, suite, variables(attempt, str(node), nodes, **env)) for node in range(nodes)]
        assert codes(jobs) == [0] * nodes, outputs(jobs)
        ran = [each.ran() for each in jobs]
        assert sorted(itertools.chain(*ran)) == sorted(verdicts(daemon, "5/t", env={"SHARD_PROJECT": "o/r"}))
        for each in jobs:
            assert each.ran() or attempt > 1 and "already settled everything" in each.output(), each.output()
        assert wait(daemon).returncode == 0


@pytest.mark.parametrize("variables, key", [(alone, "5/t"), (entry, "5/t: [3.12]")], ids=["alone", "entry"])
def test_the_only_job_of_a_green_build_runs_everything_again(tmp_path, daemon, variables, key):
    """GitLab gives it no number, and does not say that it is run again."""
    suite = make_suite(tmp_path, EIGHT)
    for attempt in (1, 2, 3):
        one = job(daemon, suite, variables(attempt))
        assert one.wait() == 0 and len(one.ran()) == 8, one.output()
        assert "shard: build %s, its only node (from gitlab)" % key in one.output()
    daemon.restart()
    assert len(finished(job(daemon, suite, variables(4))).ran()) == 8
    shared = job(daemon, suite, variables(5), "--build", "5/t")  # nodes of any name may share a key of the user's own
    assert "its only node" not in finished(shared).output()


def finished(one):
    assert one.wait() == 0, one.output()
    return one


def test_one_job_of_a_green_build_runs_what_it_decided(tmp_path, daemon):
    suite = make_suite(tmp_path, dict(EIGHT, **{"conftest.py": BARRIER}))
    env = barrier(tmp_path, 2)
    jobs = [job(daemon, suite, github(1, str(node), 2, **env)) for node in range(2)]
    assert codes(jobs) == [0, 0]
    again = job(daemon, suite, github(2, "1", 2))
    assert again.wait() == 0 and sorted(again.ran()) == sorted(jobs[1].ran())
    assert "run again: %d tests this job decided before" % len(jobs[1].ran()) in again.output()


def test_unresolved_runs_nothing_of_a_green_build_and_says_so(tmp_path, daemon):
    suite = make_suite(tmp_path, EIGHT)
    assert job(daemon, suite, github(1), "--on-retry", "unresolved").wait() == 0
    again = job(daemon, suite, github(2), "--on-retry", "unresolved")
    assert again.wait() == 0 and again.ran() == []
    assert "run again: nothing: the others already settled everything" in again.output()


def test_a_rerun_finds_what_broke_since(tmp_path, daemon):
    suite = make_suite(tmp_path, {"test_a.py": "import os\ndef test_it(): assert 'BROKEN' not in os.environ\n"})
    assert job(daemon, suite, github(1)).wait() == 0
    assert job(daemon, suite, github(2, BROKEN="1")).wait() == 1
    assert wait(daemon).returncode == 1


# ---- exit statuses

STATUS = '''
    import os

    def pytest_sessionfinish(session):
        if os.environ.get("STATUS"):
            session.exitstatus = int(os.environ["STATUS"])
'''
COUNTS = '''
    import os
    import pytest

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(session):
        yield
        session.testsfailed += "STATUS" in os.environ  # as pytest-cov does for --cov-fail-under
'''


@pytest.mark.parametrize("status, code, build", [(1, 1, 1), (2, 2, 16), (3, 16, 16), (4, 2, 16), (5, 1, 1), (6, 1, 1),
                                                 (77, 1, 1)])
def test_an_exit_status_without_a_failed_test_is_a_fact(tmp_path, daemon, status, code, build):
    suite = make_suite(tmp_path, {"conftest.py": STATUS, "test_a.py": "def test_a(): pass\n"})
    worker = job(daemon, suite, github(1, STATUS=str(status)))
    assert worker.wait() == code, worker.output()
    assert wait(daemon).returncode == build
    again = job(daemon, suite, github(2, STATUS=str(status)))
    assert again.wait() == code and again.ran() == ["test_a.py::test_a"], again.output()
    assert wait(daemon).returncode == build
    again = job(daemon, suite, github(3))
    assert again.wait() == 0 and again.ran() == ["test_a.py::test_a"], again.output()
    assert wait(daemon).returncode == 0


ELSEWHERE = '''
    import os

    def test_a():
        assert os.environ["SHARD_NODE"] != "0", "only here"
'''


@pytest.mark.parametrize("plugin", [STATUS, COUNTS], ids=["sets", "counts"])
@pytest.mark.parametrize("status, code", [("1", 1), (None, 0)])
def test_a_forgiven_failure_explains_no_more_than_itself(tmp_path, daemon, plugin, status, code):
    """The failure passes on the other node. The exit status is 1 either way: with a plugin's word, or for it alone."""
    suite = make_suite(tmp_path, {"conftest.py": BARRIER + textwrap.dedent(plugin),
                                  "test_a.py": ELSEWHERE, "test_b.py": "def test_b(): pass\n"})
    env = barrier(tmp_path, 2)
    jobs = [job(daemon, suite, github(1, "0", 2, STATUS=status, **env), "--retries", "1"),
            job(daemon, suite, github(1, "1", 2, **env), "--retries", "1")]
    found = codes(jobs)
    tried = attempts(daemon, "5/t", env={"SHARD_PROJECT": "o/r"})["test_a.py::test_a"]
    if tried[0]["node"] == "0":
        assert found == [code, 0], outputs(jobs)
        assert wait(daemon).returncode == code
    assert tried[-1]["status"] == "passed"


def test_a_muted_failure_hides_no_exit_status(tmp_path, daemon):
    suite = make_suite(tmp_path, {"conftest.py": COUNTS, "test_a.py": "def test_a(): assert 0\n",
                                  "test_b.py": "def test_b(): pass\n"})
    assert job(daemon, suite, github(1, SHARD_BUILD="first")).wait() == 1
    daemon.shard("quarantine", "add", "test_a.py::test_a", "--reason", "known", env={"SHARD_PROJECT": "o/r"})
    worker = job(daemon, suite, github(1))
    assert worker.wait() == 0, worker.output()
    assert wait(daemon).returncode == 0
    worker = job(daemon, suite, github(1, SHARD_BUILD="third", STATUS="1"))
    assert worker.wait() == 1, worker.output()
    assert daemon.shard("wait", "--build", "third", "--project", "o/r", timeout=30).returncode == 1


# ---- the end of a session

SLOW_END = '''
    import os, time
    import pytest

    @pytest.fixture(scope="session", autouse=True)
    def service():
        yield
        open(os.environ["ENDS"], "w").close()
        while not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        assert 0, "the service left rows behind"

    def test_a():
        pass
'''


@pytest.mark.parametrize("restart", [False, True])
def test_wait_waits_for_the_end_of_the_sessions(tmp_path, make_daemon, restart):
    """Every test has its verdict, and an error may still come."""
    daemon = make_daemon(lease_ttl="20s", heartbeat="1s")
    suite = make_suite(tmp_path, {"test_a.py": SLOW_END})
    ends, go = tmp_path / "ends", tmp_path / "go"
    worker = job(daemon, suite, github(1, ENDS=str(ends), GO=str(go)))
    eventually(ends.exists, what="the session's end")
    eventually(lambda: daemon.json("builds", "--project", "o/r")[0]["state"] == "complete", what="the last verdict")
    if restart:
        daemon.restart()
    waiter = Process([SHARD, "wait", "--server", daemon.address, "--build", "5/t", "--project", "o/r"],
                     tmp_path / "waited", clean_env())
    eventually(lambda: daemon.json("builds", "--project", "o/r"), what="an answer behind the question")
    go.touch()
    assert waiter.wait() == 1, waiter.output()
    assert worker.wait() == 1


def test_a_machine_that_vanishes_behind_its_last_result_is_not_awaited_for_ever(tmp_path, make_daemon):
    daemon = make_daemon(lease_ttl="2s", heartbeat="500ms")
    suite = make_suite(tmp_path, {"test_a.py": SLOW_END})
    ends = tmp_path / "ends"
    worker = job(daemon, suite, github(1, ENDS=str(ends), GO=str(tmp_path / "go")))
    eventually(ends.exists, what="the session's end")
    eventually(lambda: daemon.json("builds", "--project", "o/r")[0]["state"] == "complete", what="the last verdict")
    worker.signal(signal.SIGKILL)
    assert wait(daemon).returncode == 0


def test_a_test_process_that_dies_behind_its_tests_is_a_fact(tmp_path, daemon):
    suite = make_suite(tmp_path, {"test_a.py": SERVICE.replace('assert os.environ.get("WELL"), "the', '''
        os.environ.get("WELL") or os.abort()  # the''')})
    worker = job(daemon, suite, github(1))
    assert worker.wait() == 16, worker.output()
    assert wait(daemon).returncode == 16
    again = job(daemon, suite, github(2, WELL="1"))
    assert again.wait() == 0 and again.ran() == ["test_a.py::test_a"], again.output()
    assert wait(daemon).returncode == 0
