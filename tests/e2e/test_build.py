"""One build over four workers: each test has exactly one verdict, and it is plain pytest's."""
import collections

import pytest
from shardlib import (ALL_PLUGINS, PYTEST, Worker, attempts, codes, junit, junit_cases, make_suite, outputs,
                      plain_pytest, ran_again, run_workers, settling, start_workers, verdicts)

MIXED = {
    "test_outcomes.py": '''
        import pytest

        @pytest.fixture
        def breaks():
            raise RuntimeError("set-up breaks")

        @pytest.fixture
        def breaks_after():
            yield
            raise RuntimeError("teardown breaks")

        def test_passes():
            pass

        def test_fails():
            assert {"a": 1} == {"a": 2}, "message with <xml> & \\x1b[31mcolour\\x1b[0m and \\x00"

        def test_raises():
            raise OSError("out of luck")

        def test_setup_error(breaks):
            pass

        def test_teardown_error(breaks_after):
            pass

        def test_fails_twice(breaks_after):
            assert False

        @pytest.mark.skip(reason="never")
        def test_skipped():
            pass

        def test_skips_itself():
            pytest.skip("not now")

        @pytest.mark.xfail(reason="known")
        def test_xfails():
            assert False

        @pytest.mark.xfail
        def test_xpasses():
            pass

        @pytest.mark.xfail(strict=True)
        def test_xpasses_strictly():
            pass
    ''',
    "test_params.py": '''
        import pytest

        @pytest.mark.parametrize("n", range(40))
        def test_numbers(n):
            assert n % 13 != 7

        @pytest.mark.parametrize("text", ["", "a b", "::", "[x]", "a/b", "naïve", "雪", "\\n", "\\\\", "x" * 300, "%s",
                                          "#2"])
        def test_names(text):
            assert isinstance(text, str)

        @pytest.mark.parametrize("a", [1, 2])
        @pytest.mark.parametrize("b", ["x", pytest.param("y", marks=pytest.mark.xfail), pytest.param("z", id="zéd")])
        def test_marks(a, b):
            assert b != "y"
    ''',
    "sub/test_names.py": '''
        def test_größe():
            pass

        class TestOuter:
            class TestInner:
                def test_deep(self):
                    pass

                def test_deep_fails(self):
                    assert 0

            def test_shallow(self):
                pass
    ''',
    "sub/ünï/test_ordner.py": "def test_in_folder(): pass\n",
    "test_unit.py": '''
        import unittest

        class TestCase(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.ready = True

            def test_ok(self):
                self.assertTrue(self.ready)

            def test_bad(self):
                self.fail("no")

            @unittest.skip("later")
            def test_later(self):
                pass

            @unittest.expectedFailure
            def test_expected(self):
                self.fail("yes")

        class TestBroken(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                raise RuntimeError("class set-up breaks")

            def test_one(self):
                pass

            def test_two(self):
                pass
    ''',
    "test_optional.py": '''
        import pytest
        pytest.importorskip("a_module_that_nobody_has")

        def test_never():
            assert 0
    ''',
    "sub/test_left_out.py": 'import pytest\npytest.skip("not here", allow_module_level=True)\n',
}
GREEN = {"test_%s.py" % name: "import pytest\n@pytest.mark.parametrize('n', range(10))\ndef test_it(n): pass\n"
         for name in "abcd"}


def check_whole(daemon, workers, plain, tmp_path):
    """Every test ran once (a skip is confirmed by the others), has one verdict, and the merged reports are pytest's."""
    found = attempts(daemon)
    assert ran_again(found, len(workers)) == {}
    assert {name: settling(rows)[-1]["status"] for name, rows in found.items()} == plain.outcomes, outputs(workers)
    ran = collections.Counter(name for worker in workers for name in worker.ran())
    assert {name for name, count in ran.items() if count != 1 and plain.outcomes[name] != "skipped"} == set()
    assert set(ran) == {name for name in plain.outcomes if "::" in name}
    assert junit(daemon, tmp_path / "merged.xml") == plain.junit


def test_four_workers_equal_plain_pytest(tmp_path, daemon):
    suite = make_suite(tmp_path, MIXED)
    plain = plain_pytest(suite, env=ALL_PLUGINS)
    assert plain.code == 1
    assert set(plain.outcomes.values()) == {"passed", "failed", "error", "skipped", "xfailed", "xpassed"}
    workers = run_workers(4, daemon, suite, env=ALL_PLUGINS)
    check_whole(daemon, workers, plain, tmp_path)
    failing = {name for name, status in plain.outcomes.items() if status in ("failed", "error")}
    for worker in workers:
        expected = 1 if failing & set(worker.ran()) else 0
        assert worker.wait() == expected, worker.output()
    assert any(worker.wait() == 1 for worker in workers)
    assert daemon.shard("wait").returncode == 1
    assert daemon.json("builds")[0]["state"] == "complete"


def test_green_build_ends_0_everywhere(tmp_path, daemon):
    suite = make_suite(tmp_path, GREEN)
    plain = plain_pytest(suite)
    workers = run_workers(4, daemon, suite)
    check_whole(daemon, workers, plain, tmp_path)
    assert codes(workers) == [0, 0, 0, 0]
    assert daemon.shard("wait").returncode == 0


@pytest.mark.parametrize("workers", [1, 7])
def test_any_number_of_workers(tmp_path, daemon, workers):
    suite = make_suite(tmp_path, MIXED)
    check_whole(daemon, run_workers(workers, daemon, suite), plain_pytest(suite), tmp_path)


def test_verdicts_outlive_the_daemon(tmp_path, daemon):
    suite = make_suite(tmp_path, MIXED)
    run_workers(2, daemon, suite)
    before = attempts(daemon)
    daemon.restart()
    assert attempts(daemon) == before and len(before) > 70
    assert daemon.shard("wait").returncode == 1


def test_a_late_worker_gets_nothing_and_ends_0(tmp_path, daemon):
    suite = make_suite(tmp_path, GREEN)
    run_workers(1, daemon, suite)
    late, = run_workers(1, daemon, suite, node="late")
    assert late.wait() == 0 and late.ran() == []


def test_builds_do_not_share_a_queue(tmp_path, daemon):
    suite = make_suite(tmp_path, GREEN)
    one = start_workers(2, daemon, suite, build="one")
    two = start_workers(2, daemon, suite, build="two")
    assert codes(one + two) == [0] * 4
    for build, workers in (("one", one), ("two", two)):
        assert len(verdicts(daemon, build)) == 40
        assert len([name for worker in workers for name in worker.ran()]) == 40


def test_deselection_and_arguments_are_the_users(tmp_path, daemon):
    suite = make_suite(tmp_path, MIXED)
    args = ["-k", "numbers or deep", "--deselect", "test_params.py::test_numbers[3]", "test_params.py", "sub"]
    plain = plain_pytest(suite, *args)
    workers = run_workers(3, daemon, suite, command=PYTEST + args)
    check_whole(daemon, workers, plain, tmp_path)


def test_own_junit_reports_of_the_workers_add_up(tmp_path, daemon):
    suite = make_suite(tmp_path, MIXED)
    plain = plain_pytest(suite)
    workers = [Worker(daemon, suite, node=str(i), command=PYTEST + ["--junitxml=%s/%d.xml" % (tmp_path, i)])
               for i in range(4)]
    codes(workers)
    merged = {}
    for i in range(4):
        for name, case in junit_cases(tmp_path / ("%d.xml" % i)).items():
            assert name not in merged or merged[name] == case.outcome == "skipped", name  # the others confirm a skip
            merged[name] = case.outcome
    assert merged == plain.junit
