"""Two jobs of a build with one number. With the server the second is refused while the first is at work; without it
both run the same part of the list, which is told when the results are handed over. A job that is run again is neither.
"""
import shutil
import signal
import time

import pytest
from keeplib import ALONE, kept, spool, submit
from shardlib import BARRIER, Worker, barrier, codes, eventually, make_suite, outputs, verdicts
from wire import Wire, pb

FILES = {"test_%s.py" % name: "import pytest\n\n@pytest.mark.parametrize('n', range(5))\ndef test_it(n): pass\n"
         for name in "ab"}


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, FILES)


# ---- without the server

def alone(away, suite, tmp_path, node, total, *args, code=0, **options):
    worker = Worker(away, suite, node=str(node), **options,
                    args=ALONE + ["--total", total, "--spool", spool(tmp_path), *args])
    assert worker.wait() == code, worker.output()
    return worker


def names_both(text, *parts):
    missing = [part for part in parts if part not in text]
    assert not missing, text
    return True


def test_two_jobs_that_ran_one_part(away, suite, tmp_path):
    """Both end with 0, and half of the list never ran: the second that is handed over says so."""
    first, second = (alone(away, suite, tmp_path, 0, 2, "--attempt", attempt) for attempt in ("job-7", "job-8"))
    assert first.ran() == second.ran() and len(first.ran()) == 5
    away.options["idle_timeout"] = "1s"
    away.start()
    done = submit(away, tmp_path)
    assert done.returncode == 16 and kept(tmp_path) == [], done.stderr
    assert names_both(done.stderr, 'attempt "job-7"', 'attempt "job-8"', 'node "0"', "both ran part 1 of 2",
                      "5 tests have no verdict")
    done = away.shard("wait")
    assert done.returncode == 16 and names_both(done.stdout + done.stderr, 'attempt "job-7"', 'attempt "job-8"')
    away.restart()
    assert away.shard("wait").returncode == 16
    assert sorted(verdicts(away).values()) == ["missing"] * 5 + ["passed"] * 5


WAITS = '''
    import os, time

    def pytest_sessionfinish():
        end = time.monotonic() + 240
        while not os.path.exists(os.environ["GATE"]):
            assert time.monotonic() < end
            time.sleep(0.01)
'''


def test_the_server_is_back_when_the_second_ends(away, suite, tmp_path):
    """The job itself is red then, though its tests passed. The first one's part is known from before a restart."""
    gate = tmp_path / "gate"
    alone(away, suite, tmp_path, 1, 2)
    waits = make_suite(tmp_path, dict(FILES, **{"conftest.py": WAITS}), "waits")
    second = Worker(away, waits, node="1", env={"GATE": str(gate)},
                    args=ALONE + ["--total", "2", "--spool", tmp_path / "other"])
    eventually(second.ran, what="it runs without the server")
    away.start()
    assert submit(away, tmp_path).returncode == 0
    away.restart()
    gate.write_text("")
    assert second.wait() == 16, second.output()
    assert names_both(second.output(), "both ran part 2 of 2", "handed over 5 results")


@pytest.mark.parametrize("odd", ["list", "commit"])
def test_results_that_are_of_another_build(away, suite, tmp_path, odd):
    """A job whose results the server refuses for what they are is red: its part of the build's tests ran nowhere."""
    gate = tmp_path / "gate"
    alone(away, suite, tmp_path, 0, 2, "--commit", "4f1d2c3b")
    files = dict(FILES, **{"conftest.py": WAITS})
    if odd == "list":
        files["test_c.py"] = "def test_more(): pass\n"
    commit = "4f1d2c3b" if odd == "list" else "77aa21c0"
    second = Worker(away, make_suite(tmp_path, files, "odd"), node="1", env={"GATE": str(gate)},
                    args=ALONE + ["--total", "2", "--spool", tmp_path / "other", "--commit", commit])
    eventually(second.ran, what="it runs without the server")
    away.start()
    assert submit(away, tmp_path).returncode == 0
    gate.write_text("")
    assert second.wait() == 16, second.output()
    assert ("another list" if odd == "list" else "77aa21c0") in second.output()


def test_parts_of_different_splits(away, suite, tmp_path):
    alone(away, suite, tmp_path, 0, 2)
    alone(away, suite, tmp_path, 2, 3)
    away.options["idle_timeout"] = "1s"
    away.start()
    done = submit(away, tmp_path)
    assert done.returncode == 16 and names_both(done.stderr, "part 1 of 2", "part 3 of 3", "the same --total"), done
    assert away.shard("wait").returncode == 16


def test_one_job_brought_twice_is_one(away, suite, tmp_path):
    alone(away, suite, tmp_path, 0, 2)
    path, = kept(tmp_path)
    shutil.copy(str(path), str(tmp_path / "copy"))
    away.start()
    assert submit(away, tmp_path).returncode == 0
    away.restart()
    done = away.shard("submit", tmp_path / "copy")
    assert done.returncode == 0 and "had 5 results" in done.stderr, done.stderr
    alone_later = alone(away, suite, tmp_path, 1, 2)  # the other part, with the server there
    assert alone_later.wait() == 0 and away.shard("wait").returncode == 0


def test_all_ran_elsewhere(away, suite, tmp_path):
    """Who ran what twice is of no consequence once each test has a verdict."""
    for attempt in "12":
        alone(away, suite, tmp_path, 0, 2, "--attempt", attempt)
    away.start()
    other = Worker(away, suite, node="1", args=["--total", "2"])
    assert other.wait() == 0, other.output()
    done = submit(away, tmp_path)
    assert done.returncode == 0, done.stderr
    assert away.shard("wait").returncode == 0


# ---- with the server

GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "5", "GITHUB_JOB": "t", "GITHUB_RUN_ATTEMPT": "1",
          "SHARD_NODE": "0", "SHARD_TOTAL": "2", "SHARD_BUILD": None}
GITLAB = {"GITLAB_CI": "true", "CI_PIPELINE_ID": "5", "CI_JOB_GROUP_NAME": "t", "CI_JOB_NAME": "t 1/2",
          "CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "2", "CI_JOB_RETRY_COUNT": "0", "SHARD_NODE": None,
          "SHARD_BUILD": None}
PLAIN = {"SHARD_NODE": "0", "SHARD_TOTAL": "2"}


@pytest.mark.parametrize("ci", [GITHUB, GITLAB, PLAIN], ids=["github", "gitlab", "none"])
def test_a_number_in_use_is_refused(make_daemon, tmp_path, ci):
    daemon = make_daemon(lease_ttl="10s", heartbeat="500ms")
    suite = make_suite(tmp_path, dict(FILES, **{"conftest.py": BARRIER}))
    env = [dict(ci, CI_JOB_ID=str(i)) if ci is GITLAB else ci for i in (71, 72)]
    first = Worker(daemon, suite, env=dict(env[0], **barrier(tmp_path, 2)))
    eventually(first.ran, what="the first is at work")
    second = Worker(daemon, suite, env=env[1])
    assert second.wait() == 16 and second.ran() == [], second.output()
    assert names_both(second.output(), 'have the number "0"', "is at work", "this is another one", "SHARD_NODE")
    if ci is GITLAB:
        assert names_both(second.output(), 'attempt "71"', 'attempt "72"')
    first.kill()


def hello(daemon, **fields):
    connection = Wire(daemon.address)
    connection.hello(**dict(dict(node="0", node_total=2, numbered=True, attempt="1", host="a",
                                 retried=pb.RETRIED_UNKNOWN), **fields))
    return connection


def turned_away(daemon, code, **fields):
    with Wire(daemon.address) as connection:
        connection.hello(None, **dict(dict(node="0", node_total=2, numbered=True, attempt="2", host="b",
                                           retried=pb.RETRIED_UNKNOWN), **fields))
        return connection.expect_error(code, closes=True)


def test_a_job_whose_machine_vanished_is_run_again(make_daemon):
    """The server has not noticed: the new one waits until the old one was silent for as long as a lease lives."""
    daemon = make_daemon(lease_ttl="2s", heartbeat="500ms")
    gone = hello(daemon)
    busy = turned_away(daemon, "ERROR_BUSY", retried=pb.RETRIED_YES)
    assert busy.retry_us > 0 and names_both(busy.text.decode(), 'node "0"', 'attempt "1"')

    def comes():
        with Wire(daemon.address) as connection:
            connection.hello(None, node="0", node_total=2, numbered=True, attempt="2", retried=pb.RETRIED_YES, host="b")
            return connection.recv().WhichOneof("body") == "welcome"
    eventually(comes, what="the silent one's place is free")
    gone.close()


@pytest.mark.parametrize("fields", [{}, {"retried": pb.RETRIED_YES}], ids=["unknown", "rerun"])
def test_a_job_run_again_while_the_old_one_ends(make_daemon, fields):
    """It is heard of for a while yet, as a machine that is being stopped is, and leaves."""
    daemon = make_daemon(lease_ttl="60s", heartbeat="500ms")
    old = hello(daemon)
    began = time.monotonic()
    while time.monotonic() < began + 1.5:  # longer than LIMIT_TWIN_US, after which a job that is no re-run is refused
        turned_away(daemon, "ERROR_BUSY", **fields)
        old.send(heartbeat=pb.Heartbeat())
        old.expect("ack")
    old.send(bye=pb.Bye(reason=pb.BYE_SIGNAL))
    old.expect("goodbye")
    hello(daemon, attempt="2", **fields).close()
    old.close()


def test_the_worker_itself_waits_and_comes_in(make_daemon, tmp_path):
    daemon = make_daemon(lease_ttl="3s", heartbeat="500ms")
    suite = make_suite(tmp_path, dict(FILES, **{"conftest.py": BARRIER}))
    stopped = Worker(daemon, suite, args=["--total", "2", "--attempt", "1"], env=barrier(tmp_path, 2))
    eventually(stopped.ran, what="it is at work")
    stopped.signal(signal.SIGSTOP)
    again = Worker(daemon, suite, args=["--total", "2", "--attempt", "2", "--retried", "yes"])
    assert again.wait() == 0, again.output()
    assert names_both(again.output(), "is busy", 'node "0"', 'attempt "1"', "takes its place")
    assert daemon.shard("wait").returncode == 0
    stopped.kill()


@pytest.mark.parametrize("fields", [{"numbered": False}, {"node": "1"}, {"brings": True}],
                         ids=["name", "other", "brings"])
def test_no_twins(daemon, fields):
    first = hello(daemon)
    hello(daemon, attempt="2", **fields).close()
    first.close()


def test_its_own_session_is_no_twin(daemon):
    first = Wire(daemon.address)
    session = first.hello(node="0", node_total=2, numbered=True, attempt="1").session
    hello(daemon, session=session).close()
    first.close()


def test_jobs_with_numbers_of_their_own(daemon, suite):
    workers = [Worker(daemon, suite, node=str(i), args=["--total", "3"]) for i in range(3)]
    assert codes(workers) == [0, 0, 0], outputs(workers)
