"""Every kind of test has the outcome and the text that plain pytest gives it."""
import json
import os
import re

import pytest
from fake_worker import Answer, has_plugin, stable

KINDS = '''
    import unittest
    import pytest

    def test_pass(): pass
    def test_fail():
        print("said before failing")
        assert 1 == 2, "the reason"
    @pytest.fixture
    def bad_setup(): raise RuntimeError("setup is bad")
    def test_setup_error(bad_setup): pass
    @pytest.fixture
    def bad_teardown():
        yield
        raise RuntimeError("teardown is bad")
    def test_teardown_error(bad_teardown): pass
    def test_fail_and_teardown_error(bad_teardown): assert not "the call failed"
    @pytest.mark.skip(reason="not today")
    def test_skip(): pass
    def test_skip_inside(): pytest.skip("on second thoughts")
    @pytest.fixture
    def skips(): pytest.skip("by the fixture")
    def test_skip_in_setup(skips): pass
    @pytest.mark.xfail(reason="known")
    def test_xfail(): assert 0
    @pytest.mark.xfail(reason="unexpected")
    def test_xpass(): pass
    @pytest.mark.xfail(strict=True, reason="must fail")
    def test_xpass_strict(): pass
    @pytest.mark.xfail(run=False, reason="crashes")
    def test_xfail_norun(): pass
    def test_xfail_inside(): pytest.xfail("imperative")
    @pytest.mark.xfail(reason="of setup")
    def test_xfail_setup(bad_setup): pass
    def test_system_exit(): raise SystemExit(3)

    class TestUnit(unittest.TestCase):
        def test_ok(self): pass
        def test_fails(self): self.fail("unit failure")
        @unittest.skip("unit skip")
        def test_skipped(self): pass
        @unittest.expectedFailure
        def test_expected(self): self.fail("known")
        @unittest.expectedFailure
        def test_unexpected(self): pass
        def test_subtests(self):
            for i in range(3):
                with self.subTest(i=i):
                    self.assertNotEqual(i, 1)
'''


@pytest.mark.plugins
@pytest.mark.parametrize("size", [1, 1000])
def test_all_kinds(suite, size):
    suite.write("test_kinds.py", KINDS)
    suite.write("test_skipped_module.py", 'import pytest\npytest.skip("whole module", allow_module_level=True)\n')
    plain, fed = suite.same(answer=Answer(size))
    assert plain.rc == 1
    assert sorted(set(fed.statuses.values())) == sorted(["passed", "failed", "error", "skipped", "xfailed", "xpassed"])

    def text(name):
        return fed.texts["test_kinds.py::" + name]

    assert "the reason" in text("test_fail") and "said before failing" in text("test_fail")
    assert "ERROR at setup" in text("test_setup_error") and "setup is bad" in text("test_setup_error")
    assert "ERROR at teardown" in text("test_teardown_error") and "teardown is bad" in text("test_teardown_error")
    assert "the call failed" in text("test_fail_and_teardown_error")
    assert "teardown is bad" in text("test_fail_and_teardown_error")
    assert (text("test_skip"), text("test_skip_inside")) == ("not today", "on second thoughts")
    assert text("test_skip_in_setup") == "by the fixture"
    assert (text("test_xfail"), text("test_xpass")) == ("known", "unexpected")
    assert "imperative" in text("test_xfail_inside")
    assert "XPASS(strict)" in text("test_xpass_strict")
    assert "text" not in next(r for r in fed.results if r["id"] == "test_kinds.py::test_pass")


def counted(output):
    """The output but for what pytest says of how many tests there are."""
    return [re.sub(r" +\[ *\d+%\]", "", line) for line in stable(output)
            if not line.startswith(("collected", "collecting", "shard: 2 files"))]


@pytest.mark.plugins
def test_terminal_output_is_that_of_plain_pytest(suite):
    suite.write("test_kinds.py", KINDS)
    suite.write("test_more.py", "def test_one(): pass\n")

    for args in ([], ["-v"], ["-q"], ["-rA"]):
        plain, fed = suite.same(*args, answer=Answer(5))
        assert counted(fed.output) == counted(plain.output)


@pytest.mark.parametrize("ini", ["", "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n"])
def test_ids_of_all_sorts(suite, ini):
    suite.write("pytest.ini", "[pytest]\n" + ini)
    suite.write("test_é ü/test_ids.py", r'''
        import pytest
        IDS = ["a b", "a/b", "a::b", "[x]", "]", "é€", "日本", "x" * 1500, "tab\there", "new\nline",
               "\x1b[0m", "\ud800", '"q"', "\\", "", "y" * 6000, "é" * 3000, "z" * 30000]
        @pytest.mark.parametrize("value", range(len(IDS)), ids=IDS)
        def test_id(value): pass
        @pytest.mark.parametrize("value", IDS)
        def test_value(value): assert "new" not in value
    ''')
    fed = suite.fed(answer=Answer(1))
    plain = suite.plain()
    assert fed.rc == plain.rc == 1, fed.output
    assert fed.stats == plain.stats
    assert len(fed.ids) == len(set(fed.ids)) == len(fed.results) == 36
    assert list(fed.statuses.values()).count("failed") == 1
    assert all(len(name.encode()) <= 4096 and "\n" not in name and "\0" not in name for name in fed.ids)
    assert any(name.endswith("[a::b]") for name in fed.ids) and any("x" * 1500 in name for name in fed.ids)
    assert set(fed.files) == {"test_é ü/test_ids.py"}
    assert suite.fed(answer=Answer(1000)).ids == fed.ids


def test_output_that_is_no_valid_text(suite):
    suite.write("test_it.py", r'''
        def test_surrogate(): assert 0, "lone \udc80 surrogate"
        def test_nul(): assert 0, "nul \0 here"
        def test_long():
            print("begin " + "é" * 300000 + " end")
            assert 0
        def test_repr():
            class Odd(Exception):
                def __str__(self): raise ValueError("no str")
            raise Odd()
    ''')
    plain, fed = suite.same()
    assert "\\udc80" in fed.texts["test_it.py::test_surrogate"]
    assert "nul \\x00 here" in fed.texts["test_it.py::test_nul"]
    text = fed.texts["test_it.py::test_long"]
    assert len(text.encode()) <= 65536 and text.endswith(" end")
    assert "bytes left out" in text and "def test_long" in text


def test_a_list_of_many_chunks(suite):
    suite.write("test_many.py", '''
        import pytest
        @pytest.mark.parametrize("n", ["%05d" % n + "x" * 900 for n in range(1500)])
        def test_n(n): pass
    ''')
    fed = suite.fed(answer=Answer(500))  # 450 KB a line
    assert fed.rc == 0 and list(fed.statuses) == fed.ids
    assert fed.kinds().count("opened" if suite.collect == "lazy" else "tests") > 4 and len(fed.ids) == 1500
    assert [name.split("[")[1][:5] for name in fed.ids] == ["%05d" % n for n in range(1500)]
    assert max(len(json.dumps(message)) for message in fed.messages) <= 256 * 1024


def test_units_and_files(suite):
    suite.write("test_a.py", '''
        import pytest
        class TestOuter:
            def test_1(self): pass
            class TestInner:
                def test_2(self): pass
        @pytest.mark.parametrize("n", [1, 2])
        def test_n(n): pass
        def test_m(): pass
    ''')
    suite.write("sub/test_b.py", "def test_n(): pass\n")
    fed = suite.fed()
    found = {name: (file, unit) for name, file, unit in zip(fed.ids, fed.files, fed.units)}
    files = {name: file for name, (file, _) in found.items()}
    assert files["sub/test_b.py::test_n"] == "sub/test_b.py" and files["test_a.py::test_m"] == "test_a.py"
    units = {name: unit for name, (_, unit) in found.items()}
    assert units["test_a.py::TestOuter::test_1"] == units["test_a.py::TestOuter::TestInner::test_2"]
    assert units["test_a.py::test_n[1]"] == units["test_a.py::test_n[2]"]
    assert len(set(units.values())) == 4


def test_duplicate_ids(suite):
    suite.write("conftest.py", '''
        def pytest_collection_modifyitems(items):
            def again():
                return type(items[0]).from_parent(items[0].parent, name=items[0].name)
            items[:] = [items[0], items[1], again(), again(), items[2]]
    ''')
    suite.write("test_it.py", "def test_a(): pass\ndef test_b(): pass\ndef test_c(): assert 0\n")
    fed = suite.fed(answer=Answer(1))
    assert fed.listed["duplicates"] == ([] if suite.collect == "lazy" else ["test_it.py::test_a"])  # said by the first
    assert fed.ids == ["test_it.py::" + name for name in ("test_a", "test_b", "test_a#2", "test_a#3", "test_c")]
    assert list(fed.statuses) == fed.ids and list(fed.statuses.values()) == ["passed"] * 4 + ["failed"]
    assert fed.rc == suite.plain().rc == 1


def test_doctests(suite):
    suite.write("mod.py", '''
        def good():
            """
            >>> 1 + 1
            2
            """
        def bad():
            """
            >>> 1 + 1
            3
            """
    ''')
    suite.write("README.txt", ">>> 2 * 2\n4\n")
    plain, fed = suite.same("--doctest-modules", "--doctest-glob=*.txt", "mod.py", "README.txt", answer=Answer(1))
    assert sorted(fed.statuses.values()) == ["failed", "passed", "passed"]


def test_items_of_other_files(suite, runner_version):
    name = "file_path" if runner_version >= (7, 0) else "path"
    suite.write("conftest.py", '''
        import pytest
        class Odd(pytest.Item):
            def runtest(self): assert self.name != "bad"
            def repr_failure(self, excinfo): return "the odd one failed"
            def reportinfo(self): return self.fspath, 0, self.name
        class OddFile(pytest.File):
            def collect(self):
                for name in ("good", "bad", "two\\nlines"):
                    yield Odd.from_parent(self, name=name)
        def pytest_collect_file(parent, PATH):
            if str(PATH).endswith(".odd"):
                return OddFile.from_parent(parent, KEY=PATH)
    '''.replace("KEY", name[-4:] if name == "file_path" else "fspath").replace("PATH", name))
    suite.write("a.odd", "")
    fed = suite.fed("-p", "no:doctest", answer=Answer(1))
    assert fed.ids == ["a.odd::good", "a.odd::bad", "a.odd::two\\x0alines"] and fed.files == ["a.odd"] * 3
    assert list(fed.statuses.values()) == ["passed", "failed", "passed"]
    assert fed.texts["a.odd::bad"] == "the odd one failed"


@pytest.mark.plugins
def test_asyncio(suite):
    if not has_plugin("pytest_asyncio"):
        raise AssertionError("python3-pytest-asyncio is needed for this test")
    suite.write("test_it.py", '''
        import asyncio
        import pytest, pytest_asyncio
        @pytest_asyncio.fixture
        async def one():
            await asyncio.sleep(0)
            yield 1
            await asyncio.sleep(0)
        @pytest.mark.asyncio
        async def test_good(one): assert one == 1
        @pytest.mark.asyncio
        async def test_bad(one): assert one == 2
        def test_plain(): pass
    ''')
    plain, fed = suite.same(answer=Answer(1))
    assert list(fed.statuses.values()) == ["passed", "failed", "passed"]


@pytest.mark.full
@pytest.mark.plugins
def test_rerunfailures(suite):
    if not has_plugin("pytest_rerunfailures"):
        raise AssertionError("python3-pytest-rerunfailures is needed for this test")
    suite.write("test_it.py", '''
        import itertools, time
        import pytest
        calls, setups, downs = itertools.count(), itertools.count(), itertools.count()
        def test_good(): pass
        def test_flaky():
            time.sleep(0.02)
            assert next(calls) == 2, "not yet"
        def test_bad(): assert 0, "never"
        @pytest.fixture
        def shaky():
            assert next(setups) == 1
        def test_setup(shaky): pass
        @pytest.fixture
        def shaky_down():
            yield
            assert next(downs) == 1
        def test_teardown(shaky_down): pass
        @pytest.mark.flaky(reruns=0)
        def test_no_rerun(): assert 0
    ''')
    for when in ("now", "late"):
        plain, fed = suite.same("--reruns=2", answer=Answer(1, when))
        status = {name.split("::")[1]: status for name, status in fed.statuses.items()}
        assert status == {"test_good": "passed", "test_flaky": "passed", "test_bad": "failed", "test_setup": "passed",
                          "test_teardown": "passed", "test_no_rerun": "failed"}
        assert len(fed.results) == 6 and len(fed.stats["rerun"]) == 6
        flaky = fed.results[1]
        assert flaky["call"] >= 60000 and "text" not in flaky
        assert fed.texts["test_it.py::test_bad"].count("never") < 4


def test_a_test_nobody_reports_is_no_pass(suite):
    suite.write("conftest.py", '''
        import pytest
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item):
            return True if "swallowed" in item.name else None
    ''')
    suite.write("test_it.py", "def test_swallowed(): pass\ndef test_b(): pass\n")
    fed = suite.fed()
    assert list(fed.statuses.values()) == ["error", "passed"]
    assert "no report" in fed.texts["test_it.py::test_swallowed"]


@pytest.mark.plugins
def test_coverage(suite):
    if not has_plugin("pytest_cov"):
        raise AssertionError("python3-pytest-cov is needed for this test")
    suite.write("mod.py", "def a():\n    return 1\n\n\ndef b():\n    return 2\n")
    suite.write("test_it.py", "import mod\ndef test_a(): assert mod.a() == 1\ndef test_b(): assert mod.b()\n")
    suite.write("pytest.ini", "[pytest]\naddopts = --cov=mod --cov-fail-under=99\n")
    first = suite.fed(answer=Answer([["test_it.py::test_a"]]), SHARD_NODE="ci/1")
    second = suite.fed("-n", "2", answer=Answer([["test_it.py::test_b"]]), SHARD_NODE="ci.2")
    for fed in (first, second):
        assert fed.rc == fed.bye["rc"] == 0, fed.output
        assert "--cov-fail-under=99 is not checked here" in fed.output and "not reached" not in fed.output
    files = sorted(name for name in os.listdir(str(suite.folder)) if name.startswith(".coverage"))
    assert files == [".coverage.ci_1", ".coverage.ci_2"]
    assert suite.plain("--cov-fail-under=0", COVERAGE_FILE=".c.plain").rc == 0
    (suite.folder / ".coveragerc").write_text("[run]\ndata_file = data/cov\n")
    (suite.folder / "data").mkdir()
    assert suite.fed(SHARD_NODE="n3").rc == 0 and os.listdir(str(suite.folder / "data")) == ["cov.n3"]
    assert suite.fed(SHARD_NODE="n3", COVERAGE_FILE=".c.n3").rc == 0 and (suite.folder / ".c.n3").exists()
