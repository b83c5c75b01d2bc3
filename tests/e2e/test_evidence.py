"""No green without a test that ran: sessions of pytest that run nothing, and clocks that tests stop, seen by a whole
worker."""
import pathlib

import pytest
from shardlib import BUILD, PYTEST, Worker, attempts, codes, make_suite, verdicts

SUITE = {"test_a.py": "def test_one(): pass\ndef test_two(): pass\n"}
FROZEN = {"test_frozen.py": pathlib.Path(__file__).with_name("frozen_suite.py").read_text()}
MINUTE_US = 60 * 1000000


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan", "--collect-only", "--fixtures"])
@pytest.mark.parametrize("how", ["command", "environment", "addopts"])
def test_a_session_that_runs_nothing_is_a_usage_error(tmp_path, daemon, option, how):
    suite = make_suite(tmp_path, SUITE)
    if how == "addopts":
        (suite / "pytest.ini").write_text("[pytest]\naddopts = %s\n" % option)
    worker = Worker(daemon, suite, command=PYTEST + ([option] if how == "command" else []),
                    env={"PYTEST_ADDOPTS": option if how == "environment" else None})
    assert codes([worker]) == [2], worker.output()
    assert "pytest was told %s (in " % option in worker.output() and "0 passed" in worker.output()


def test_a_command_may_look_before_it_runs(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    command = ["sh", "-c", '"$@" --collect-only && exec "$@"', "pytest"] + PYTEST
    worker = Worker(daemon, suite, command=command, args=["--runner", "pytest"])
    assert codes([worker]) == [0], worker.output()
    assert set(verdicts(daemon).values()) == {"passed"} and len(verdicts(daemon)) == 2


@pytest.mark.parametrize("loop", ["return True", "session.testsfailed = 1; return True"])
def test_a_plugin_that_takes_the_loop_away(tmp_path, daemon, loop):
    suite = make_suite(tmp_path, dict(SUITE, **{"conftest.py": """
        import pytest
        def pytest_sessionstart(session):
            class Loop:
                @pytest.hookimpl(tryfirst=True)
                def pytest_runtestloop(self, session):
                    %s
            session.config.pluginmanager.register(Loop())
    """ % loop}))
    worker = Worker(daemon, suite)
    assert codes([worker]) == [16], worker.output()
    assert "pytest_runtestloop" in worker.output()


def test_calls_that_are_left_out(tmp_path, daemon):
    suite = make_suite(tmp_path, dict(SUITE, **{"conftest.py": """
        def pytest_collection_finish(session):
            session.config.option.setuponly = True
    """}))
    worker = Worker(daemon, suite)
    assert codes([worker]) == [1], worker.output()
    assert verdicts(daemon) == dict.fromkeys(["test_a.py::test_one", "test_a.py::test_two"], "error")
    merged = tmp_path / "merged.xml"
    assert daemon.shard("report", "--build", BUILD, "--junit", merged).returncode == 0
    assert merged.read_text().count("nothing shows that this test ran") >= 2


def test_tests_that_stop_the_clock(tmp_path, daemon):
    suite = make_suite(tmp_path, FROZEN)
    worker = Worker(daemon, suite)
    assert codes([worker]) == [0], worker.output()
    found = attempts(daemon)
    assert len(found) == 3
    for rows in found.values():
        assert sum(rows[0][phase] for phase in ("setup_us", "call_us", "teardown_us")) < MINUTE_US, rows
    starts = [found["test_frozen.py::test_" + name][0]["start"] for name in ("past", "future", "plain")]
    assert starts == sorted(starts) and {start[:4] for start in starts}.isdisjoint({"2012", "2031"}), starts
