"""Files that are imported when the first of their tests comes: which, when, under what, and what is told of them. That
all else is as with full collection is shown by the tests beside this one, which run both ways."""
import os

import pytest
from fake_worker import Answer, FakeWorker

pytestmark = pytest.mark.lazy
NOTING = "from noting import note\nnote('import', __name__)\n"


@pytest.fixture
def three(suite):
    for name in "abc":
        suite.write("test_%s.py" % name, NOTING + "def test_1(): note('run', __name__)\ndef test_2(): pass\n")
    return suite


def test_only_files_of_given_tests_are_imported(three):
    fed = three.fed(answer=Answer([["test_c.py::test_2"], ["test_a.py::test_1"]]))
    assert fed.rc == 0 and fed.statuses == {"test_c.py::test_2": "passed", "test_a.py::test_1": "passed"}
    assert fed.notes == ["import test_c", "import test_a", "run test_a"]
    assert fed.opened == {"test_c.py": ["test_c.py::test_1", "test_c.py::test_2"],
                          "test_a.py": ["test_a.py::test_1", "test_a.py::test_2"]}
    assert fed.kinds() == ["hello", "listed", "need", "open", "opened", "start", "need", "result", "open", "opened",
                           "start", "need", "result", "bye", "end"]
    assert "3 files of tests, each is imported when its first test comes" in fed.output


def test_nothing_given_imports_nothing_and_is_no_failure(three):
    fed = three.fed(answer=Answer([]))
    assert fed.rc == fed.bye["rc"] == 0 and fed.notes == [] and not fed.opened


def test_no_import_while_a_fixture_of_another_file_lives(three):
    """The next file is known all the time, but its import waits for the teardown of the last."""
    three.write("test_a.py", NOTING + '''
import pytest
@pytest.fixture(scope="module", autouse=True)
def thing():
    yield
    note("down a")
def test_1(): note("run a")
''')
    for size in (1, 6):
        fed = three.fed(answer=Answer(size))
        assert fed.rc == 0
        assert fed.notes[:4] == ["import test_a", "run a", "down a", "import test_b"]


def test_collects_all_when_told_to(three):
    """Nobody has the list: what the worker gets is what a full collection has."""
    three.write("test_b.py", NOTING + "import pytest\npytest.skip('not here', allow_module_level=True)\n")
    three.write("conftest.py", "def pytest_collection_modifyitems(items): items[:] = items[::-1]\n")
    first = three.known(("-k", "not test_2"), {})
    three.known = lambda args, env: {}
    fed = three.fed("-k", "not test_2", answer=Answer(1))
    assert fed.rc == 0 and fed.notes[:3] == ["import test_a", "import test_b", "import test_c"]
    assert fed.ids == list(first) == ["test_c.py::test_1", "test_a.py::test_1", "test_b.py"]
    assert sorted(fed.ids) == sorted(fed.statuses)
    assert fed.files == [first[name][0] for name in fed.ids]
    assert fed.listed["n"] == 3 and not fed.opened and fed.kinds().count("listed") == 2


def test_collects_nothing_when_told_to(three):
    three.known = lambda args, env: {}
    fed = three.fed("-k", "no_such_test")
    assert fed.rc == fed.bye["rc"] == 5 and fed.listed["n"] == 0 and not fed.listed.get("lazy")


def test_only_tests_named_on_the_command_line(three):
    """Such a file is looked into by the scan; others are not."""
    plain, fed = three.same("test_b.py::test_1", "test_a.py", answer=Answer(1))
    assert fed.notes == plain.notes[:1] + ["run test_b", "import test_a", "run test_a"]
    fed = three.fed("test_b.py::test_1", "test_a.py::test_1")
    assert fed.listed["n"] == 2 and not fed.listed.get("lazy")  # nothing was left to open
    assert fed.rc == 0 and len(fed.results) == 2
    plain, fed = three.same("test_a.py", "--pyargs", "test_b::test_1", "test_c")
    assert fed.ids == ["test_a.py::test_1", "test_a.py::test_2", "test_b.py::test_1", "test_c.py::test_1",
                       "test_c.py::test_2"]
    fed = three.fed("test_b.py::no_such_test")
    assert fed.rc == 4


def test_files_and_classes_skipped_as_a_whole(three):
    three.write("test_b.py", NOTING + "import pytest\npytest.importorskip('nothing_of_that_name')\n")
    three.write("pkg/__init__.py", "")
    three.write("pkg/test_d.py", "import unittest\nraise unittest.SkipTest('by unittest')\n")
    for size in (1, 100):
        plain, fed = three.same(answer=Answer(size))
        assert fed.statuses["test_b.py"] == fed.statuses["pkg/test_d.py"] == "skipped"
        assert "by unittest" in fed.texts["pkg/test_d.py"] and "nothing_of_that_name" in fed.texts["test_b.py"]
        assert len(fed.stats["skipped"]) == 2
    fed = three.fed(answer=Answer([["test_b.py"], ["test_a.py::test_1"]]))
    assert fed.rc == 0 and list(fed.statuses.values()) == ["skipped", "passed"]


def test_what_would_be_shared_with_a_skipped_file_is_torn_down(three):
    """The package was left standing for its next test, which there is not; what follows stands elsewhere."""
    three.write("pkg/__init__.py", "")
    three.write("pkg/conftest.py", """
import pytest
from noting import note
@pytest.fixture(scope="package", autouse=True)
def thing():
    yield
    note("down")
""")
    three.write("pkg/test_d.py", "def test_1(): pass\n")
    three.write("pkg/test_e.py", "import pytest\npytest.importorskip('nothing_of_that_name')\n")
    three.write("pkg/test_f.py", "def test_1(): pass\n")
    given = ["pkg/test_d.py::test_1", "pkg/test_e.py", "test_a.py::test_1"]
    for order in ([given], [[name] for name in given]):
        fed = three.fed(answer=Answer(order))
        assert fed.rc == 0 and list(fed.statuses.values()) == ["passed", "skipped", "passed"], fed.output
        assert fed.notes == ["down", "import test_a", "run test_a"]
    fed = three.fed(answer=Answer([["pkg/test_d.py::test_1", "pkg/test_e.py", "pkg/test_f.py::test_1"]]))
    assert fed.rc == 0 and fed.notes == ["down"]  # it is still shared


def test_a_file_given_twice(three):
    fed = three.fed("--keep-duplicates", "test_a.py", "test_a.py", answer=Answer(1))
    assert fed.rc == 0 and list(fed.statuses) == fed.ids and fed.notes == ["import test_a"] + ["run test_a"] * 2
    assert fed.ids == ["test_a.py::test_1", "test_a.py::test_2", "test_a.py::test_1#2", "test_a.py::test_2#2"]


def test_two_kinds_of_tests_in_one_file(three):
    three.write("test_b.py", NOTING + 'def test_1():\n    """\n    >>> 1 + 1\n    2\n    """\n')
    plain, fed = three.same("--doctest-modules", answer=Answer(1))
    assert [name for name in fed.ids if "test_b" in name] == ["test_b.py::test_b.test_1", "test_b.py::test_1"]
    assert fed.notes.count("import test_b") == 1


# What does not fit the list.

def changed(suite, *args, answer=None, **files):
    """A session over files that changed after the list was made; Answer: all tests of the list, one by one."""
    known = suite.known(args, {})
    suite.known = lambda args, env: known
    for name, text in files.items():
        if text is None:
            os.unlink(str(suite.folder / (name + ".py")))
        else:
            suite.write(name + ".py", text)
    return suite.fed(*args, answer=answer or Answer(1))


def test_a_test_more_and_a_test_less_are_told(three):
    fed = changed(three, test_a="def test_1(): pass\ndef test_3(): pass\n",
                  answer=Answer([["test_a.py::test_1"]]))
    assert fed.opened == {"test_a.py": ["test_a.py::test_1", "test_a.py::test_3"]}  # the worker's to judge
    three.write("test_a.py", "def test_1(): pass\ndef test_2(): pass\n")
    del three.known
    fed = changed(three, test_a="def test_1(): pass\n")
    assert fed.opened["test_a.py"] == ["test_a.py::test_1"] and fed.statuses == {"test_a.py::test_1": "passed"}
    assert fed.rc == 2 and "test_a.py::test_2" in fed.errors[0] and "not collected here" in fed.errors[0]


def test_a_file_that_is_not_here(three):
    fed = changed(three, test_a=None)
    assert fed.rc == 2 and fed.opened["test_a.py"] == [] and "test_a.py::test_1" in fed.errors[0] and not fed.results


def test_a_file_that_cannot_be_imported_here(three):
    """As with full collection: pytest ends with 2; where errors are to be passed, the file holds nothing."""
    fed = changed(three, test_b="import nothing_of_that_name\n")
    assert fed.rc == fed.bye["rc"] == 2 and not fed.bye["stopped"] and not fed.errors
    assert list(fed.statuses) == ["test_a.py::test_1", "test_a.py::test_2"]
    assert fed.listed["errors"] == 1 and "test_b.py" not in fed.opened
    assert "nothing_of_that_name" in fed.output and "1 error during collection" in fed.output

    class Reads(FakeWorker):
        def on_opened(self, message):
            super().on_opened(message)
            self.texts[message["file"]] = message["text"]

    suite = three
    suite.write("test_b.py", "def test_1(): pass\n")
    del suite.known
    suite.fed = lambda *args, answer, fed=suite.fed: fed(*args, answer=answer, worker=Reads)
    fed = changed(suite, "--continue-on-collection-errors", test_b="import nothing_of_that_name\n")
    assert fed.opened["test_b.py"] == [] and "nothing_of_that_name" in fed.texts["test_b.py"]
    assert fed.rc == 2 and "test_b.py::test_1" in fed.errors[0]


def test_run_without_files_is_told(three):
    class Forgets(FakeWorker):
        def send(self, message):
            message.pop("files", None)
            super().send(message)

    fed = three.fed(worker=Forgets)
    assert fed.rc == 2 and "without a list of files" in fed.errors[0] and not fed.results


# Under what a file is imported.

def test_what_a_file_says_while_it_is_imported(three):
    three.write("test_b.py", NOTING + "import sys\nprint('said on import')\nsys.stderr.write('and there')\n"
                                      "def test_1(): pass\n")
    plain, fed = three.same("-v", answer=Answer(1))
    assert "said on import" not in plain.output + fed.output and "and there" not in plain.output + fed.output


def test_warnings_of_an_import(three):
    three.write("test_b.py", "import warnings\nwarnings.warn('of the import', UserWarning)\ndef test_1(): pass\n")
    plain, fed = three.same(answer=Answer(1))
    assert "UserWarning: of the import" in fed.output and "1 warning" in fed.output
    three.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    assert three.plain().rc == 2
    fed = changed(three)
    assert fed.rc == 2 and "UserWarning: of the import" in fed.output
    plain, fed = three.same("-p", "no:warnings", answer=Answer(1))
    assert plain.rc == 0 and "of the import" not in fed.output


def test_hooks_see_each_file(three):
    """pytest_collection_modifyitems comes once for a file, with its tests, and never without any."""
    three.write("conftest.py", '''
        import pytest
        from noting import note
        def pytest_collection_modifyitems(session, config, items):
            assert items and items[0].session is session
            note("modify", *sorted({item.nodeid.split("::")[0] for item in items}))
            for item in items:
                if item.name == "test_2":
                    item.add_marker(pytest.mark.xfail(reason="by the conftest"))
        def pytest_itemcollected(item): note("item", item.nodeid)
        def pytest_pycollect_makeitem(collector, name, obj):
            if name == "OTHER":
                return pytest.Function.from_parent(collector, name="other", callobj=lambda: None)
    ''')
    three.write("test_c.py", "OTHER = 1\ndef test_2(): assert 0\n")
    plain, fed = three.same(answer=Answer(1))
    assert [note for note in fed.notes if note.startswith("modify")] == [
        "modify test_a.py", "modify test_b.py", "modify test_c.py"]
    assert sorted(note for note in fed.notes if note.startswith("item")) == sorted(
        note for note in plain.notes if note.startswith("item"))
    assert fed.statuses["test_c.py::test_2"] == "xfailed" and fed.statuses["test_c.py::other"] == "passed"


def test_exit_while_importing(three):
    fed = changed(three, test_b="import pytest\npytest.exit('enough', 7)\n")
    plain = three.plain()
    assert fed.rc == plain.rc and list(fed.statuses) == ["test_a.py::test_1", "test_a.py::test_2"]
    fed = changed(three, test_b="import os\nos._exit(3)\n")
    assert fed.rc == 3 and fed.bye is None and fed.kinds()[-1] == "open"
