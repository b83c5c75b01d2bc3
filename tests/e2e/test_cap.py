"""A test over its cap is ended, and nothing but it."""
import shardlib

SUITE = """
    import time
    import pytest

    def test_hangs():
        time.sleep(60)

    @pytest.mark.parametrize("n", range(7))
    def test_behind_it(n):
        time.sleep(0.4)
"""


def test_what_ends_a_hung_test_does_not_reach_the_next_interpreter(tmp_path, make_daemon):
    suite = shardlib.make_suite(tmp_path, {"test_hung.py": SUITE})
    daemon = make_daemon()
    worker, = shardlib.run_workers(1, daemon, suite, args=["--timeout-per-test", "1s"])
    expected = dict({"test_hung.py::test_hangs": "timed_out"},
                    **{"test_hung.py::test_behind_it[%d]" % n: "passed" for n in range(7)})
    assert shardlib.verdicts(daemon) == expected
    assert {len(rows) for rows in shardlib.attempts(daemon).values()} == {1}
    assert worker.wait() == 1
    assert "never spoke" not in worker.output() and sorted(worker.ran()) == sorted(expected)
