"""Machines that are not what they should be: one that fails good tests, and one that never came."""
from shardlib import (BARRIER, attempts, barrier, codes, eventually, make_suite, outputs, settling, start_workers,
                      verdicts)

SUITE = dict({"test_%02d.py" % i: '''
    import os
    import time
    import pytest

    @pytest.mark.parametrize("n", range(8))
    def test_it(n):
        time.sleep(0.02)
        assert os.environ.get("SICK") != os.environ["SHARD_NODE"], "the disk is full"
''' for i in range(40)}, **{"conftest.py": BARRIER})


def test_sick_worker(tmp_path, daemon):
    """One of three fails whatever it is given: its tests pass on the others, and the build is green. It is told so, and
    its job is red for a reason of its own."""
    suite = make_suite(tmp_path, SUITE)
    workers = start_workers(3, daemon, suite, env=dict(barrier(tmp_path, 3), SICK="0"))
    assert codes(workers) == [16, 0, 0], outputs(workers)
    assert "tests that failed on this worker pass on others" in workers[0].output()
    found = attempts(daemon)
    assert len(found) == 320
    assert {rows[-1]["status"] for rows in found.values()} == {"passed"}
    assert "0" not in {settling(rows)[-1]["node"] for rows in found.values()}, "nothing that it failed stands"
    assert len(workers[0].ran()) < 60, "it was not left to fail everything"
    assert daemon.shard("wait").returncode == 0
    assert 'event=worker_fenced build=1 worker=' in daemon.log() and 'node="0"' in daemon.log()


def test_it_survives_a_restart(tmp_path, daemon):
    """What was given back stays given back when the daemon dies right after."""
    suite = make_suite(tmp_path, SUITE)
    workers = start_workers(3, daemon, suite, env=dict(barrier(tmp_path, 3), SICK="0"))
    eventually(lambda: "event=worker_fenced" in daemon.log(), what="a worker is fenced out")
    eventually(lambda: any(row["round"] == 2 for rows in attempts(daemon).values() for row in rows),
               what="a test that it failed has run again")
    daemon.restart()
    assert codes(workers) == [16, 0, 0], outputs(workers)
    assert set(verdicts(daemon).values()) == {"passed"}
    assert daemon.shard("wait").returncode == 0


def test_a_skip_does_not_undo_a_failure(tmp_path, daemon):
    """What fails where it can run, and is skipped where it cannot, has failed."""
    suite = make_suite(tmp_path, {"test_a.py": '''
        import os
        import time
        import pytest

        def test_on_one_machine():
            if os.environ["SHARD_NODE"] != "0":
                pytest.skip("no such device here")
            end = time.monotonic() + 240
            while not os.path.exists("go"):
                assert time.monotonic() < end
                time.sleep(0.01)
            assert 0, "it is really broken"
    ''', "test_b.py": "def test_elsewhere(): pass\n"})
    first = start_workers(1, daemon, suite, args=["--retries", "1"])[0]
    eventually(first.ran, what="the machine with the device has the test")
    other = start_workers(1, daemon, suite, args=["--retries", "1"], node="1")[0]
    eventually(other.ran, what="another machine works, too")
    (suite / "go").write_text("")
    codes([first, other])
    rows = attempts(daemon)["test_a.py::test_on_one_machine"]
    assert [row["node"] for row in rows] == ["0", "1"] and "1 skipped" in other.output(), outputs([first, other])
    assert verdicts(daemon)["test_a.py::test_on_one_machine"] == "failed"
    assert daemon.shard("wait").returncode == 1


def test_a_broken_file_is_no_sick_worker(tmp_path, daemon):
    """A file that fails as a whole sits on one worker, which looks sick until others have tried: its tests stay failed,
    and nobody is sent home."""
    broken = '''
        import pytest

        @pytest.mark.parametrize("n", range(30))
        def test_bad(n):
            assert 0
    '''
    suite = make_suite(tmp_path, dict(SUITE, **{"test_bad.py": broken}))
    workers = start_workers(3, daemon, suite, env=barrier(tmp_path, 3))
    assert set(codes(workers)) <= {0, 1} and 1 in codes(workers), outputs(workers)
    found = verdicts(daemon)
    bad = {name for name in found if "test_bad" in name}
    assert len(bad) == 30 and {found[name] for name in bad} == {"failed"}
    assert {found[name] for name in found if name not in bad} == {"passed"}
    assert daemon.shard("wait").returncode == 1
    assert "worker_fenced" not in daemon.log()


# ---- workers that do not come

SLOW = {"test_a.py": '''
    import time
    import pytest

    @pytest.mark.parametrize("n", range(300))
    def test_it(n):
        time.sleep(0.03)
'''}


def test_too_few_workers(tmp_path, daemon):
    suite = make_suite(tmp_path, SLOW)
    workers = start_workers(2, daemon, suite, args=["--min-workers", "3", "--min-workers-timeout", "3s"])
    assert codes(workers) == [16, 16], outputs(workers)
    for worker in workers:
        assert "fewer workers came than --min-workers asks for" in worker.output()
        assert len(worker.ran()) < 290, "it stops in the middle"
    assert daemon.shard("wait").returncode == 16
    build, = daemon.json("builds")
    assert build["state"] == "incomplete"
    assert "only 2 workers came in time" in build["text"]
    # The same two jobs, run again as a CI does after 16, are no further workers.
    again = start_workers(2, daemon, suite, args=["--min-workers", "3"], env={"SHARD_ATTEMPT": "2"})
    assert codes(again) == [16, 16], outputs(again)
    # Those two do not make it go on, whatever happens to the daemon; the third one does.
    daemon.restart()
    third = start_workers(1, daemon, suite, node="2")[0]
    assert third.wait() == 0, third.output()
    assert daemon.shard("wait").returncode == 0


def test_enough_workers(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    workers = start_workers(2, daemon, suite, args=["--min-workers", "2", "--min-workers-timeout", "30s"],
                            env=barrier(tmp_path, 2))
    assert codes(workers) == [0, 0], outputs(workers)
