"""A pytest process whose end goes wrong with the exit status that a failed test gives it: red, whatever becomes of the
failed test. And what a plugin may do at the end without being taken for an error."""
import textwrap

import pytest
from shardlib import PYTEST, Worker, make_suite
from test_facts import github, job, wait

ENDS = '''
    import atexit, os, sys
    import pytest

    WRONG = os.environ.get("WRONG", "")
    sessions = []

    def pytest_sessionstart(session):
        sessions.append(session)

    def pytest_sessionfinish(session):
        if session.exitstatus:
            print("the status is", session.exitstatus.name, repr(type(session).__name__))
        if WRONG == "raises":
            raise RuntimeError("left rows behind")
        if WRONG == "exits":
            pytest.exit("left rows behind", returncode=1)

    def leave():
        raise RuntimeError("left rows behind")

    class Outer:
        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_sessionfinish(self, session):
            if WRONG == "outer exits":
                pytest.exit("left rows behind", returncode=1)
            yield
            if WRONG == "outer sets":
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_cmdline_main():
        outcome = yield
        if WRONG == "returns":
            outcome.force_result(1)

    def pytest_configure(config):
        if WRONG == "cleanup raises":
            config.add_cleanup(leave)
        if WRONG == "cleanup exits":
            config.add_cleanup(lambda: sys.exit("left rows behind"))
        config.pluginmanager.register(Outer())

    def pytest_unconfigure():
        if WRONG == "sets":
            sessions[0].exitstatus = 1
        if WRONG == "unconfigure exits":
            pytest.exit("left rows behind", returncode=1)

    if WRONG == "handler":
        atexit.register(os._exit, 1)
'''
FLAKY = '''
    import os

    def test_flaky():
        with open(os.environ["COUNT"], "a") as file:
            file.write("x")
        assert os.path.getsize(os.environ["COUNT"]) > 1

    def test_well():
        pass
'''
RUNNER = '''
    import os, sys
    import pytest

    status = pytest.main(["-q", "-p", "no:cacheprovider"])
    if os.environ.get("WRONG"):
        raise RuntimeError("left rows behind")
    sys.exit(bool(status))
'''
FORMS = ["raises", "exits", "outer exits", "outer sets", "returns", "cleanup raises", "cleanup exits", "sets",
         "unconfigure exits", "handler"]
BOTH = ["test_a.py::test_flaky", "test_a.py::test_well"]


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, {"conftest.py": ENDS, "test_a.py": FLAKY})


def begin(daemon, suite, tmp_path, attempt, *args, **env):
    return job(daemon, suite, github(attempt, COUNT=str(tmp_path / "count"), **env), *args)


def mended(daemon, suite, tmp_path, *args):
    """What cannot be forgiven is cleared by running again all that the process ran."""
    again = begin(daemon, suite, tmp_path, 2, *args)
    assert again.wait() == 0 and sorted(again.ran()) == BOTH, again.output()
    assert wait(daemon).returncode == 0


@pytest.mark.parametrize("collect", ["full", "lazy"])
@pytest.mark.parametrize("wrong", FORMS)
def test_a_wrong_end_is_not_forgiven_with_a_retried_test(daemon, suite, tmp_path, wrong, collect):
    args = ("--retries", "1", "--collect", collect)
    worker = begin(daemon, suite, tmp_path, 1, *args, WRONG=wrong)
    assert worker.wait() == 1, worker.output()
    assert wait(daemon).returncode == 1
    said = worker.output()
    assert "an error outside of any test" in said and ("left rows behind" in said or "no failed test explains" in said)
    mended(daemon, suite, tmp_path, *args)


@pytest.mark.parametrize("wrong, collect", [("raises", "lazy"), ("cleanup raises", "full"), ("handler", "lazy")])
def test_a_wrong_end_is_not_forgiven_by_a_rerun_of_the_failed_test(daemon, suite, tmp_path, wrong, collect):
    worker = begin(daemon, suite, tmp_path, 1, "--collect", collect, WRONG=wrong)
    assert worker.wait() == 1, worker.output()
    mended(daemon, suite, tmp_path, "--collect", collect)


@pytest.mark.parametrize("collect", ["full", "lazy"])
def test_a_wrong_end_is_not_muted_with_a_test(daemon, suite, tmp_path, collect):
    (suite / "test_b.py").write_text("def test_broken(): assert 0\n")
    env = {"COUNT": str(tmp_path / "count")}
    (tmp_path / "count").write_text("xx")
    assert job(daemon, suite, github(1, SHARD_BUILD="first", **env)).wait() == 1
    daemon.shard("quarantine", "add", "test_b.py::test_broken", "--reason", "known", env={"SHARD_PROJECT": "o/r"})
    assert job(daemon, suite, github(1, SHARD_BUILD="well", **env), "--collect", collect).wait() == 0
    for wrong in ("raises", "cleanup raises", "sets", "handler"):
        worker = job(daemon, suite, github(1, SHARD_BUILD=wrong, WRONG=wrong, **env), "--collect", collect)
        assert worker.wait() == 1, worker.output()
        assert daemon.shard("wait", "--build", wrong, "--project", "o/r", timeout=30).returncode == 1


@pytest.mark.parametrize("wrong, code", [("", 0), ("1", 1)])
def test_a_program_that_calls_pytest(daemon, suite, tmp_path, wrong, code):
    """Its own traceback behind the session is an error; what it makes of the status of failed tests is not."""
    (suite / "conftest.py").unlink()
    (suite / "runner.py").write_text(textwrap.dedent(RUNNER))
    worker = Worker(daemon, suite, node=None, build=None, args=("--runner", "pytest", "--retries", "1"),
                    command=[PYTEST[0], "runner.py"], env=github(1, COUNT=str(tmp_path / "count"), WRONG=wrong))
    assert worker.wait() == code, worker.output()
    assert wait(daemon).returncode == code
    assert ("left rows behind" in worker.output()) == bool(code)


@pytest.mark.parametrize("collect", ["full", "lazy"])
def test_a_forgiven_failure_is_no_wrong_end(daemon, suite, tmp_path, collect):
    """Plugins see the status as pytest has it, and those that read it or call what is registered with atexit do no
    harm."""
    (suite / "test_b.py").write_text("import atexit\ndef test_handlers(): atexit._run_exitfuncs()\n")
    worker = begin(daemon, suite, tmp_path, 1, "--retries", "1", "--collect", collect)
    assert worker.wait() == 0, worker.output()
    assert wait(daemon).returncode == 0
    assert "the status is TESTS_FAILED 'Session'" in worker.output()
