"""A test passed only if pytest reported a passed call of it, whatever options and other plugins do; and what it took is
what passed, whatever tests do to the clock."""
import pytest
from fake_worker import Answer, has_plugin, stable

PLAIN = "def test_a(): pass\ndef test_b(): pass\n"


def outcome(fed, name):
    return fed.statuses["test_it.py::" + name], fed.texts["test_it.py::" + name]


# Options with which nothing runs.

@pytest.mark.full
@pytest.mark.parametrize("how", ["command", "PYTEST_ADDOPTS", "addopts"])
@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan", "--setupplan"])
def test_setting_up_alone_is_refused(suite, option, how):
    suite.write("test_it.py", PLAIN)
    if how == "addopts":
        suite.write("pytest.ini", "[pytest]\naddopts = -q %s\n" % option)
    env = {"PYTEST_ADDOPTS": option} if how == "PYTEST_ADDOPTS" else {}
    fed = suite.fed(*[option] if how == "command" else [], **env)
    assert fed.rc == 4 and not fed.messages, fed.output
    assert option.replace("setupplan", "setup-plan" if how == "addopts" else "setupplan") in fed.refused
    assert how in fed.refused and fed.refused in fed.output


@pytest.mark.full
@pytest.mark.parametrize("option", ["--collect-only", "--co", "--fixtures", "--fixtures-per-test", "--markers",
                                    "--version", "--help"])
def test_what_runs_nothing_is_noted(suite, option):
    suite.write("test_it.py", PLAIN)
    plain, fed = suite.plain(option), suite.fed(option)
    assert fed.rc == plain.rc and not fed.messages and stable(fed.output) == stable(plain.output)
    assert fed.refused.startswith("pytest was told %s (in the command)" % option)


def test_showing_setups_runs_tests(suite):
    suite.write("test_it.py", PLAIN)
    plain, fed = suite.same("--setup-show")
    assert set(fed.statuses.values()) == {"passed"} and not fed.refused


@pytest.mark.parametrize("member", ["setuponly", "setupplan"])
def test_an_option_set_by_a_conftest(suite, member):
    suite.write("conftest.py", '''
        def pytest_collection_finish(session):
            session.config.option.%s = session.config.option.setuponly = True
    ''' % member)
    suite.write("test_it.py", PLAIN)
    fed = suite.fed()
    assert set(fed.statuses.values()) == {"error"}
    assert "nothing shows that this test ran" in outcome(fed, "test_a")[1]


# Plugins.

PROTOCOL = '''
    import os
    import pytest
    from _pytest.runner import call_and_report, runtestprotocol

    def of(item, when, **more):
        return pytest.TestReport(item.nodeid, item.location, {}, "passed", None, when, **more)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        if "plain" in item.name:
            return None
        ihook = item.ihook
        ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        globals()[item.name](item, nextitem, lambda report: ihook.pytest_runtest_logreport(report=report))
        ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def test_nothing(item, nextitem, log):
        pass

    def test_no_call(item, nextitem, log):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if report.when != "call":
                log(report)

    def test_setup_alone(item, nextitem, log):
        log(of(item, "setup"))

    def test_teardown_alone(item, nextitem, log):
        log(of(item, "teardown"))

    def test_of_another(item, nextitem, log):
        report = of(item, "call")
        report.nodeid = "test_it.py::test_plain"
        log(report)

    def test_skipped_call(item, nextitem, log):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if report.when == "call":
                report.outcome, report.longrepr = "skipped", ("test_it.py", 1, "Skipped: not today")
            log(report)

    def test_in_a_child(item, nextitem, log):
        pid = os.fork()
        if not pid:
            runtestprotocol(item, nextitem=nextitem, log=False)
            os._exit(0)
        os.waitpid(pid, 0)
        log(of(item, "setup"))
        log(of(item, "teardown"))

    def test_child_reports(item, nextitem, log):
        pid = os.fork()
        if not pid:
            runtestprotocol(item, nextitem=nextitem, log=True)
            os._exit(0)
        os.waitpid(pid, 0)

    def test_own_report(item, nextitem, log):
        log(of(item, "call", duration=1e9))
'''
PROTOCOL_TESTS = ["nothing", "no_call", "setup_alone", "teardown_alone", "of_another", "skipped_call", "in_a_child",
                  "child_reports", "own_report", "plain"]


def test_protocols_of_other_plugins(suite):
    suite.write("conftest.py", PROTOCOL)
    suite.write("test_it.py", "".join("def test_%s(): pass\n" % name for name in PROTOCOL_TESTS))
    fed = suite.fed()
    expected = dict.fromkeys(PROTOCOL_TESTS, "error")
    expected.update(plain="passed", own_report="passed", skipped_call="skipped")
    assert {name.split("::test_")[1]: status for name, status in fed.statuses.items()} == expected, fed.texts
    assert "only: setup, teardown" in outcome(fed, "test_no_call")[1]
    own = next(result for result in fed.results if result["id"].endswith("own_report"))
    assert own["call"] < 60e6  # it says 30 years


def test_names_changed_by_a_plugin_are_fine(suite):
    suite.write("conftest.py", '''
        import pytest
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item):
            outcome = yield
            outcome.get_result().nodeid = "what %s does" % item.name
    ''')
    suite.write("test_it.py", PLAIN)
    assert set(suite.fed().statuses.values()) == {"passed"}


def test_a_call_that_pytest_counts_counts(suite):
    """What runs the function in another way (asyncio's, trio's plugins) is no less a call."""
    suite.write("conftest.py", '''
        import pytest
        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            pyfuncitem.obj()
            return True
    ''')
    suite.write("test_it.py", '''
        import pytest
        def test_a(): pass
        def test_b(): assert 0
        @pytest.mark.xfail
        def test_c(): assert 0
        @pytest.mark.xfail
        def test_d(): pass
        @pytest.mark.xfail(run=False)
        def test_e(): pass
        @pytest.mark.xfail(strict=True)
        def test_f(): pass
        def test_g(): pytest.skip("no")
    ''')
    suite.same()


@pytest.mark.plugins
def test_a_subtest_is_no_proof_of_its_test(suite):
    if not has_plugin("pytest_subtests"):
        raise AssertionError("python3-pytest-subtests is needed for this test")
    suite.write("conftest.py", '''
        import pytest
        from _pytest.runner import runtestprotocol
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            if "whole" in item.name:
                return None
            for report in runtestprotocol(item, nextitem=nextitem, log=False):
                if report.when != "call":
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
    ''')
    suite.write("test_it.py", '''
        def test_whole(subtests):
            with subtests.test("part"): pass
        def test_cut(subtests):
            with subtests.test("part"): pass
    ''')
    fed = suite.fed()
    assert outcome(fed, "test_whole")[0] == "passed" and outcome(fed, "test_cut")[0] == "error"


@pytest.mark.plugins
def test_forked_plugin(suite):
    if not has_plugin("pytest_forked"):
        raise AssertionError("python3-pytest-forked is needed for this test")
    suite.write("test_it.py", "import time\ndef test_a(): time.sleep(0.05)\ndef test_b(): assert 0\n")
    fed = suite.fed("--forked")
    assert list(fed.statuses.values()) == ["passed", "failed"]
    assert 50000 <= fed.results[0]["call"] < 60e6


# Hooks that look at items.

@pytest.mark.parametrize("answer", [Answer(1, "park", "park"), Answer(1, "late", "late"), Answer()])
def test_hooks_find_the_funcargs_of_an_item(suite, answer):
    suite.write("conftest.py", '''
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def ends():
            yield
        @pytest.fixture(scope="module", autouse=True)
        def ends_too():
            yield
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item, call):
            yield
            assert set(item.funcargs) >= {"ends", "ends_too"}, item.funcargs
    ''')
    suite.write("test_it.py", PLAIN)
    suite.write("test_other.py", PLAIN)
    fed = suite.fed(answer=answer)
    assert fed.rc == 0 and list(fed.statuses.values()) == ["passed"] * 4, fed.output


@pytest.mark.plugins
def test_benchmark_plugin(suite):
    if not has_plugin("pytest_benchmark"):
        raise AssertionError("python3-pytest-benchmark is needed for this test")
    suite.write("conftest.py", '''
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def ends():
            yield
    ''')
    suite.write("test_it.py", PLAIN + "def test_c(benchmark): benchmark(len, [])\n")
    fed = suite.fed("--benchmark-disable", answer=Answer(1, "park", "park"))
    assert fed.rc == 0 and list(fed.statuses.values()) == ["passed"] * 3, fed.output


# Clocks.

FROZEN = '''
    import time
    import pytest
    from freezegun import freeze_time

    sleep = time.sleep

    @pytest.fixture
    def past():
        frozen = freeze_time("2012-01-14")
        frozen.start()
        yield
        sleep(0.02)
        frozen.stop()

    @pytest.fixture
    def future():
        with freeze_time("2031-05-06", tick=True):
            yield
            sleep(0.02)

    @pytest.fixture
    def patched(monkeypatch):
        for name in ("time", "perf_counter", "monotonic", "time_ns", "perf_counter_ns", "monotonic_ns"):
            monkeypatch.setattr(time, name, lambda: -1e18)
        from _pytest import timing
        monkeypatch.setattr(timing, "perf_counter", lambda: float("nan"))
        monkeypatch.setattr(timing, "time", lambda: 1e300)

    @freeze_time("2001-01-01")
    def test_decorated(): sleep(0.02)
    def test_past(past): sleep(0.02)
    def test_future(future): sleep(0.02)
    def test_patched(patched): sleep(0.02)
    def test_plain(): sleep(0.02)
    def test_left_frozen():
        freeze_time("2040-01-01").start()
        sleep(0.02)
    def test_behind_it(): sleep(0.02)
'''


def check_times(fed):
    assert len(fed.results) == 7 and set(fed.statuses.values()) == {"passed"}, fed.output
    for result, following in zip(fed.results, fed.results[1:] + [None]):
        spent = result["setup"] + result["call"] + result["teardown"]
        assert 20000 <= result["call"] <= spent, result
        assert spent < 60e6, result
        if following:  # one after the other, on a clock that goes on
            assert result["start"] + spent <= following["start"] + 1000, (result, following)
    down = [result["teardown"] for result in fed.results if result["id"].endswith(("test_past", "test_future"))]
    assert min(down) >= 20000


@pytest.mark.parametrize("when", ["now", "late"])
def test_times_of_tests_that_stop_the_clock(suite, when):
    suite.write("test_it.py", FROZEN)
    check_times(suite.fed(answer=Answer(1, when)))


@pytest.mark.full
def test_a_plugin_that_stops_the_clock_at_its_import(suite):
    """It is imported before this one. Seconds come from the system's ticks then."""
    suite.write("stopped.py", "from freezegun import freeze_time\nfreeze_time('2012-01-14').start()\n")
    suite.write("test_it.py", "import subprocess\ndef test_a(): subprocess.run(['sleep', '0.2'])\n")
    fed = suite.fed("-p", "stopped")
    assert fed.rc == 0 and 100000 <= fed.results[0]["call"] < 60e6, fed.results


# What tests replace.

REPLACED = '''
    import json, json.decoder, json.encoder, os, select, signal, socket, time
    from unittest import mock
    import pytest

    def broken(*args, **kwargs):
        raise RuntimeError("replaced by a test")

    @pytest.fixture(scope="%s", autouse=True)
    def replaced():
        patch = pytest.MonkeyPatch()
        for method in ("send", "sendall", "recv", "recv_into", "close", "fileno", "connect"):
            patch.setattr(socket.socket, method, lambda self, *args: 0, raising=False)
        for method in ("encode", "iterencode", "default"):
            patch.setattr(json.JSONEncoder, method, broken)
        for method in ("decode", "raw_decode"):
            patch.setattr(json.JSONDecoder, method, broken)
        for module, names in {
                json: ("loads", "dumps", "JSONEncoder", "JSONDecoder"), json.decoder: ("scanstring", "WHITESPACE"),
                json.encoder: ("encode_basestring", "encode_basestring_ascii", "c_make_encoder"),
                select: ("poll", "select", "epoll"), socket: ("socket",),
                time: ("time", "perf_counter", "monotonic", "sleep"),
                os: ("read", "write", "_exit", "close", "times"), signal: ("signal", "setitimer")}.items():
            for name in names:
                patch.setattr(module, name, broken)
        yield
        patch.undo()

    def test_a(): pass
    def test_b(): pass
    def test_c(): assert 0, "said so"
'''


@pytest.mark.full
@pytest.mark.parametrize("scope", ["session", "function"])
@pytest.mark.parametrize("when", ["now", "park", "late"])
def test_the_adapter_is_out_of_reach(suite, scope, when):
    suite.write("test_it.py", REPLACED % scope)
    fed = suite.fed("-p", "no:cacheprovider", answer=Answer(1, when, when))
    assert list(fed.statuses.values()) == ["passed", "passed", "failed"] and fed.rc == 1, fed.output
    assert "said so" in outcome(fed, "test_c")[1] and fed.bye["rc"] == 1


@pytest.mark.full
def test_gevent_patches_everything(suite):
    if not has_plugin("gevent"):
        raise AssertionError("python3-gevent is needed for this test")
    suite.write("test_it.py", '''
        def test_a():
            from gevent import monkey
            monkey.patch_all()
        def test_b():
            import gevent
            gevent.joinall([gevent.spawn(gevent.sleep, 0.01)])
        def test_c(): pass
    ''')
    for when in ("now", "late"):
        fed = suite.fed(answer=Answer(1, when, when))
        assert fed.rc == 0 and list(fed.statuses.values()) == ["passed"] * 3, fed.output


@pytest.mark.full
def test_a_default_timeout_of_sockets(suite):
    suite.write("conftest.py", "import socket\nsocket.setdefaulttimeout(0)\n")
    suite.write("test_it.py", PLAIN)
    fed = suite.fed(answer=Answer(1, "late"))
    assert fed.rc == 0 and len(fed.statuses) == 2, fed.output
