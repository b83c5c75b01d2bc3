"""Fixtures of every scope live exactly as long as under plain pytest, however the tests are handed out."""
import itertools
import os

import pytest
from fake_worker import Answer, FakeWorker

SCOPES = '''
    import pytest
    from noting import note

    def make(scope):
        @pytest.fixture(scope=scope, name=scope + "_one")
        def fixture():
            note("up", scope)
            yield scope
            note("down", scope)
        return fixture

    function_one = make("function")
    class_one = make("class")
    module_one = make("module")
    package_one = make("package")
    session_one = make("session")
'''
MODULE = '''
    import unittest
    import pytest
    from noting import note

    def setup_module(): note("setup_module", __name__)
    def teardown_module(): note("teardown_module", __name__)

    ALL = ["function_one", "class_one", "module_one", "package_one", "session_one"]

    @pytest.mark.usefixtures(*ALL)
    class TestOne:
        @classmethod
        def setup_class(cls): note("setup_class", __name__)
        @classmethod
        def teardown_class(cls): note("teardown_class", __name__)
        def test_a(self): note("test_a", __name__)
        def test_b(self): note("test_b", __name__)

    @pytest.mark.usefixtures(*ALL)
    @pytest.mark.parametrize("n", range(3))
    def test_n(n): note("test_n", n, __name__)

    class TestUnit(unittest.TestCase):
        @classmethod
        def setUpClass(cls): note("setUpClass", __name__)
        @classmethod
        def tearDownClass(cls): note("tearDownClass", __name__)
        def test_u(self): note("test_u", __name__)
        def test_v(self): note("test_v", __name__)
'''


@pytest.fixture
def scopes(suite):
    suite.write("conftest.py", SCOPES)
    for package in ("one", "two"):
        suite.write(package + "/__init__.py", "")
        for module in ("a", "b"):
            suite.write("%s/test_%s.py" % (package, module), MODULE)
    return suite


def by_file(ids):
    return [list(group) for _, group in itertools.groupby(ids, key=lambda name: name.split("::")[0])]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_set_up_as_often_and_in_the_order_of_plain(scopes, size):
    plain, fed = scopes.same(answer=Answer(size))
    assert fed.notes == plain.notes
    assert plain.notes.count("up session") == 1 and plain.notes.count("up function") == 20


def test_files_in_another_order_set_up_as_often(scopes):
    plain = scopes.plain()

    class Reversed(Answer):
        def listed(self, ids):
            self.left = by_file(ids)[::-1]

    # Package by package, as the fixtures of a package would otherwise be set up anew by plain pytest too.
    fed = scopes.fed(answer=Reversed())
    assert fed.rc == 0 and fed.statuses == plain.statuses
    assert sorted(fed.notes) == sorted(plain.notes)
    assert fed.started != fed.ids


@pytest.mark.parametrize("when_over", ["now", "park", "late"])
@pytest.mark.parametrize("when", ["now", "park", "late"])
def test_single_tests_in_all_orders_of_need_park_finish(scopes, when, when_over):
    plain, fed = scopes.same("one/test_a.py", answer=Answer(1, when, when_over))
    # Function and session fixtures never differ; the others are torn down while parked.
    for note in ("up function", "down function", "up session", "down session"):
        assert fed.notes.count(note) == plain.notes.count(note), note
    for note in ("up class", "up module", "up package", "setup_module one.test_a", "setUpClass one.test_a"):
        assert fed.notes.count(note) >= plain.notes.count(note)
    if when == "now":
        assert fed.notes == plain.notes
    else:
        assert fed.notes.count("up module") == 5  # once per test that has it
    for up, down in (("up class", "down class"), ("up module", "down module"), ("up package", "down package"),
                     ("setup_module one.test_a", "teardown_module one.test_a"),
                     ("setUpClass one.test_a", "tearDownClass one.test_a")):
        assert fed.notes.count(up) == fed.notes.count(down)
    assert fed.notes[-1] == "down session"
    # Asked at the start and once per exhaustion, after the start of the last known test.
    assert fed.kinds().count("need") == len(fed.ids) + 1


def test_need_comes_between_start_and_result(scopes):
    fed = scopes.fed("one/test_a.py", answer=Answer(3))
    kinds = [kind for kind in fed.kinds() if kind in ("need", "start", "result")]
    assert kinds == ["need"] + (["start", "result"] * 2 + ["start", "need", "result"]) * 2 + ["start", "need", "result"]


def test_need_is_sent_before_the_teardown(suite):
    """Were it not, this would hang: the test's fixture ends only once the worker has heard 'need'."""
    suite.write("test_it.py", '''
        import os, pytest
        @pytest.fixture
        def gate():
            yield
            assert os.read(os.open("gate", os.O_RDONLY), 1) == b"x"
        def test_one(gate): pass
    ''')
    os.mkfifo(str(suite.folder / "gate"))

    class Opens(FakeWorker):
        def on_need(self, message):
            super().on_need(message)
            if self.started:
                with open(str(suite.folder / "gate"), "wb") as gate:
                    gate.write(b"x")

    fed = suite.fed(worker=Opens)
    assert fed.statuses == {"test_it.py::test_one": "passed"} and fed.rc == 0


TEARDOWN_ERROR = '''
    import pytest
    @pytest.fixture(scope="session")
    def broken():
        yield
        print("on the way down")
        raise ValueError("session teardown went wrong")
    def test_one(broken): pass
    def test_two(broken): pass
'''


@pytest.mark.parametrize("when_over", ["park", "late"])
def test_session_teardown_error_while_parked_is_late_and_fails_the_session(suite, when_over):
    suite.write("test_it.py", TEARDOWN_ERROR)
    plain = suite.plain("--junitxml=plain.xml")
    fed = suite.fed("--junitxml=fed.xml", answer=Answer(1, when_over=when_over))
    assert plain.rc == fed.rc == fed.bye["rc"] == 1
    assert fed.stats["passed"] == plain.stats["passed"] and fed.stats["error"] == plain.stats["error"]
    assert list(fed.statuses.values()) == ["passed", "passed"]
    assert len(fed.late) == 1 and "session teardown went wrong" in fed.late[0] and "on the way down" in fed.late[0]
    assert fed.kinds()[-3:] == ["late", "bye", "end"]
    assert "session teardown went wrong" in (suite.folder / "fed.xml").read_text()


def test_session_teardown_while_parked_before_pytest_7(suite):
    """There teardown_exact takes the item too."""
    suite.write("conftest.py", '''
        import pytest
        from noting import note
        @pytest.hookimpl(trylast=True)
        def pytest_sessionstart(session):
            state, exact = session._setupstate, session._setupstate.teardown_exact
            def either(*arguments):
                if len(arguments) == 2:
                    note(arguments[0].name, arguments[1])
                exact(*arguments) if hasattr(type(state), "teardown_all") else exact(arguments[-1])
            state.teardown_all, state.teardown_exact = None, either
    ''')
    suite.write("test_it.py", TEARDOWN_ERROR)
    fed = suite.fed(answer=Answer(1, when_over="park"))
    assert fed.rc == 1 and len(fed.late) == 1 and "test_two None" in fed.notes


def test_session_teardown_error_in_the_last_test(suite):
    suite.write("test_it.py", TEARDOWN_ERROR)
    plain, fed = suite.same(answer=Answer(1))
    assert list(fed.statuses.values()) == ["passed", "error"] and plain.rc == 1
    assert "session teardown went wrong" in fed.texts["test_it.py::test_two"] and not fed.late


def test_waiting_in_teardown_is_not_the_tests_time(suite):
    suite.write("test_it.py", "def test_one(): pass\ndef test_two(): pass\n")
    fed = suite.fed("--junitxml=r.xml", answer=Answer(1, "late", "late"))
    assert all(result["teardown"] < 25000 for result in fed.results), fed.results
    assert all(result["setup"] > 0 and result["call"] > 0 and result["teardown"] > 0 for result in fed.results)
    plain = suite.fed()
    assert [result["first"] for result in plain.results] == [True, False]
    assert 0 < plain.results[1]["start"] - plain.results[0]["start"] < 60e6


def test_the_same_test_again(suite):
    suite.write("test_it.py", '''
        import pytest
        from noting import note
        @pytest.fixture(scope="module")
        def module_one():
            note("up module")
            yield
            note("down module")
        @pytest.fixture
        def one(module_one):
            note("up")
            yield
            note("down")
        def test_one(one): note("test")
    ''')
    name = "test_it.py::test_one"
    for batches in ([[name, name, name]], [[name]] * 3):
        fed = suite.fed(answer=Answer(batches))
        assert fed.rc == 0, fed.output
        assert [result["status"] for result in fed.results] == ["passed"] * 3
        assert fed.notes == ["up module"] + ["up", "test", "down"] * 3 + ["down module"]


def test_plugins_may_look_at_the_next_item(suite):
    """In any phase, and whatever they look for."""
    suite.write("conftest.py", '''
        import pytest
        from noting import note
        def look(phase, nextitem):
            if nextitem is None or not nextitem:
                note(phase, "none")
            else:
                note(phase, nextitem.name or "parked", nextitem.cls, hasattr(nextitem, "__len__"))
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_protocol(item, nextitem):
            look("protocol", nextitem)
            yield
        def pytest_runtest_teardown(item, nextitem):
            look("teardown", nextitem)
    ''')
    suite.write("test_it.py", "def test_one(): pass\ndef test_two(): pass\n")
    plain, fed = suite.same(answer=Answer(1))
    assert fed.notes == plain.notes
    fed = suite.fed(answer=Answer(1, "late", "late"))
    assert fed.rc == 0 and set(fed.statuses.values()) == {"passed"}, fed.output
