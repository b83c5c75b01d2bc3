"""Jobs that cannot reach the server: what they run by themselves, what they end with, and how the server learns of it
later. Each suite is checked against plain pytest."""
import collections
import contextlib
import hashlib
import json
import pathlib
import shutil
import socket

import pytest
from keeplib import ALONE, gated, kept, run_alone, spool, submit
from shardlib import (PYTEST, Daemon, Worker, attempts, codes, eventually, make_suite, outputs, plain_pytest,
                      start_workers, verdicts)

FILES = {"test_%s.py" % name: '''
    import pytest

    @pytest.mark.parametrize("n", range(5))
    def test_it(n):
        assert n != %d
''' % bad for name, bad in (("a", 9), ("b", 9), ("c", 2), ("d", 9))}


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, FILES)


# ---- the server is not there

def test_without_fallback_nothing_runs(away, suite, tmp_path):
    worker = Worker(away, suite, args=["--connect-timeout", "300ms", "--total", "2", "--retried", "no"])
    assert worker.wait() == 16, worker.output()
    assert worker.ran() == [] and kept(tmp_path) == []


def test_each_runs_its_part(away, suite, tmp_path):
    """Every test once over all jobs, in neighbouring runs of equal length; then the server is told, and knows what it
    would have known."""
    plain = plain_pytest(suite)
    workers = run_alone(3, away, suite, tmp_path)
    ran = [worker.ran() for worker in workers]
    assert sorted(name for part in ran for name in part) == sorted(plain.outcomes)
    assert [name for part in ran for name in part] == sorted(plain.outcomes), "neighbours, in collection order"
    assert max(map(len, ran)) - min(map(len, ran)) <= 1
    bad = "test_c.py::test_it[2]"
    assert codes(workers) == [1 if bad in part else 0 for part in ran], outputs(workers)
    failing = next(worker for worker in workers if bad in worker.ran())
    assert "failed here: " + bad in failing.output() and "WARNING: going on without the server" in failing.output()
    assert len(kept(tmp_path)) == 3
    away.start()
    done = submit(away, tmp_path)
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path) == []
    assert verdicts(away) == plain.outcomes
    assert away.shard("wait").returncode == 1
    row, = attempts(away)[bad]
    assert row["flags"] == 1, "taken as any other result, and so learned from"
    assert {row["node"] for rows in attempts(away).values() for row in rows} == {"0", "1", "2"}
    assert json.loads(away.shard("test", bad, "--json").stdout)


def test_any_order_of_collection(away, tmp_path):
    """Jobs that collect in different orders still run each test once."""
    suite = make_suite(tmp_path, {"conftest.py": '''
        import os, random

        def pytest_collection_modifyitems(items):
            random.Random(os.environ["SHARD_NODE"]).shuffle(items)
    ''', **FILES})
    workers = run_alone(3, away, suite, tmp_path)
    ran = [name for worker in workers for name in worker.ran()]
    assert len(ran) == len(set(ran)) == 20, "each test in one job's part"


def test_server_comes_back_meanwhile(away, tmp_path):
    """What was run alone is handed over at the end of the job, when the server is there by then."""
    gate, suite = gated(tmp_path)
    worker = Worker(away, suite, args=ALONE + ["--total", "1", "--spool", spool(tmp_path)], env={"GATE": str(gate)})
    eventually(worker.ran, what="it runs without the server")
    away.start()
    gate.write_text("")
    assert worker.wait() == 0, worker.output()
    assert "handed over 2 results" in worker.output()
    assert kept(tmp_path) == []
    assert set(verdicts(away).values()) == {"passed"}
    assert away.shard("wait").returncode == 0


def test_one_part_is_lost(away, suite, tmp_path):
    """A part whose results never come leaves the build incomplete: never green."""
    workers = run_alone(2, away, suite, tmp_path)
    assert 1 in codes(workers)
    kept(tmp_path)[0].unlink()
    away.options["idle_timeout"] = "1s"
    away.start()
    assert submit(away, tmp_path).returncode == 0
    assert away.shard("wait").returncode == 16
    assert collections.Counter(verdicts(away).values())["missing"] == 10


def test_others_reached_the_server(daemon, suite, tmp_path):
    """One job falls back while the others have the server: they run everything, and its results change no verdict."""
    lonely = Daemon(tmp_path)
    alone = start_workers(1, lonely, suite, args=ALONE + ["--total", "2", "--spool", spool(tmp_path)])[0]
    assert alone.wait() == 0, alone.output()
    other = Worker(daemon, suite, node="1", args=["--total", "2"])
    assert other.wait() == 1, other.output()
    before = attempts(daemon)
    done = submit(daemon, tmp_path)
    assert done.returncode == 0 and "which is complete without them" in done.stderr, done.stderr
    assert attempts(daemon) == before and len(other.ran()) == 20 and kept(tmp_path) == []


def test_a_running_build_takes_them(daemon, tmp_path):
    """Results of tests that another worker is about to run settle them: it keeps what it has begun, the rest goes."""
    gate = tmp_path / "gate"
    suite = make_suite(tmp_path, {"conftest.py": '''
        import os, time

        def pytest_runtest_setup(item):
            end = time.monotonic() + 240
            while os.environ.get("GATE") and not os.path.exists(os.environ["GATE"]):
                assert time.monotonic() < end
                time.sleep(0.01)
    ''', **FILES})
    lonely = Daemon(tmp_path)
    alone = start_workers(1, lonely, suite, args=ALONE + ["--total", "1", "--spool", spool(tmp_path)])[0]
    assert alone.wait() == 1, alone.output()
    worker = Worker(daemon, suite, node="1", env={"GATE": str(gate)})
    eventually(worker.ran, what="a test has begun")
    done = submit(daemon, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "20 of its 20 tests have a verdict, 1 failing" in done.stderr
    gate.write_text("")
    assert worker.wait() == 0, "it has decided nothing\n" + worker.output()
    assert daemon.shard("wait").returncode == 1
    found = attempts(daemon)
    assert {name: rows[0]["status"] for name, rows in found.items()} == plain_pytest(suite).outcomes
    assert all(sum(row["flags"] & 1 for row in rows) == 1 for rows in found.values())


# ---- who may not

@pytest.mark.parametrize("args, why", [
    (["--retried", "yes", "--total", "2"], "run again"),
    (["--total", "2"], "--retried no"),
    (["--retried", "no"], "--total"),
    (["--retried", "no", "--total", "1", "--node", "1"], "not below"),
    (["--retried", "no", "--total", "2", "--node", "linux"], "--node"),
])
def test_refused(away, suite, tmp_path, args, why):
    worker = Worker(away, suite, args=["--fallback", "static", "--connect-timeout", "300ms", *args])
    assert worker.wait() == 16, worker.output()
    assert "--fallback static does not apply" in worker.output() and why in worker.output()
    assert worker.ran() == []


def test_a_refusal_is_no_absence(tmp_path, suite):
    """A wrong token is a mistake to mend: nothing is run behind the server's back."""
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-more-than-16-characters\n")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    with Daemon(tmp_path, listen="tcp://127.0.0.1:%d" % port, token_file=str(tokens)) as daemon:
        worker = Worker(daemon, suite, args=ALONE + ["--total", "1"], env={"SHARD_TOKEN": "another"})
        assert worker.wait() == 2, worker.output()
        assert worker.ran() == []


def test_failures_are_final(away, suite, tmp_path):
    """With --retries, too: nobody is left to try again."""
    run_alone(2, away, suite, tmp_path, "--retries", "2")
    away.start()
    assert submit(away, tmp_path).returncode == 0
    assert away.shard("wait").returncode == 1
    assert [row["status"] for row in attempts(away)["test_c.py::test_it[2]"]] == ["failed"]


# ---- how it ends

def test_ends_as_any_job(away, tmp_path):
    """Nothing collected is 5, a broken file 2, a stop by -x 1; a process that ends without a word is no success."""
    empty = make_suite(tmp_path, {"test_a.py": ""}, "empty")
    broken = make_suite(tmp_path, {"test_a.py": "import nothing_of_this_name\n"}, "broken")
    stops = make_suite(tmp_path, {"test_a.py": '''
        import time
        import pytest

        @pytest.mark.parametrize("n", range(200))
        def test_it(n):
            time.sleep(0.01)
            assert n > 0
    '''}, "stops")
    flags = ALONE + ["--total", "1", "--spool", spool(tmp_path)]
    assert Worker(away, empty, args=flags).wait() == 5
    worker = Worker(away, broken, args=flags)
    assert worker.wait() == 2, worker.output()
    assert "nothing_of_this_name" in worker.output()
    worker = Worker(away, stops, args=flags + ["--fail-fast"])
    assert worker.wait() == 1, worker.output()
    assert len(worker.ran()) < 200, "--fail-fast stops it"
    worker = Worker(away, stops, args=flags, command=PYTEST + ["-x"])
    assert worker.wait() == 1, worker.output()
    assert len(worker.ran()) == 1 and "ran 1 of 200 tests" in worker.output()
    quits = make_suite(tmp_path, {"test_a.py": "", "conftest.py": "import pytest\npytest.exit('over', returncode=0)\n"},
                       "quits")
    worker = Worker(away, quits, args=flags)
    assert worker.wait() not in (0, 1), worker.output()


def test_a_crash_counts(away, tmp_path):
    suite = make_suite(tmp_path, {"test_a.py": "import os\ndef test_1(): os._exit(0)\ndef test_2(): pass\n"})
    worker = Worker(away, suite, args=ALONE + ["--total", "1", "--spool", spool(tmp_path)])
    assert worker.wait() == 1, worker.output()
    assert "failed here: test_a.py::test_1" in worker.output()
    away.start()
    assert submit(away, tmp_path).returncode == 0
    assert [row["status"] for row in attempts(away)["test_a.py::test_1"]][0] == "crashed"


def test_errors_outside_of_tests_are_told(away, tmp_path):
    """A fixture that fails when the session ends makes the job fail, and the build, once it is handed over."""
    suite = make_suite(tmp_path, {"test_a.py": '''
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def base():
            yield
            raise RuntimeError("cannot be torn down")

        def test_it():
            pass
    '''})
    worker = Worker(away, suite, args=ALONE + ["--total", "1", "--spool", spool(tmp_path)])
    assert worker.wait() == 1, worker.output()
    away.start()
    assert submit(away, tmp_path).returncode == 0
    assert set(verdicts(away).values()) <= {"passed", "error"}
    assert away.shard("wait").returncode == 1


def test_a_bound_on_failures(away, suite, tmp_path):
    """What is brought may end the build; the rest of it is still taken."""
    run_alone(1, away, suite, tmp_path, "--max-failures", "1")
    away.start()
    done = submit(away, tmp_path)
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path) == []
    assert away.shard("wait").returncode == 1
    assert verdicts(away)["test_c.py::test_it[2]"] == "failed"


def test_many_tests(away, tmp_path):
    """More than are given to the runner at a time, many times over."""
    count = 16 * 1000 + 1
    script = 'n=0; for id; do n=$((n + 1)); echo "ok $n - $id"; done; echo "1..$n"'
    suite = make_suite(tmp_path, {"ids": "".join("t%05d\n" % i for i in range(count)), "run.sh": script})
    worker = Worker(away, suite, command=["sh", "run.sh"], args=ALONE + [
        "--total", "1", "--spool", spool(tmp_path), "--runner", "command", "--results", "tap", "--list-file", "ids"])
    assert worker.wait(120) == 0, worker.output()
    assert "ran %d of %d tests: %d passed" % (count, count, count) in worker.output()
    away.start()
    assert submit(away, tmp_path).returncode == 0
    assert away.shard("wait").returncode == 0


def test_no_folder_for_the_results(away, suite, tmp_path):
    (tmp_path / "file").write_text("")
    worker = Worker(away, suite, args=ALONE + ["--total", "1", "--spool", tmp_path / "file" / "below"])
    assert worker.wait() == 1
    assert "the results are lost" in worker.output() and str(tmp_path / "file") in worker.output()


# ---- the server is lost for good in the middle

def test_what_was_not_sent_is_kept(daemon, tmp_path):
    """16, the tests named; and a later server, on the same database, can still be given them."""
    gate, suite = gated(tmp_path)
    worker = Worker(daemon, suite, env={"GATE": str(gate)},
                    args=["--server-timeout", "1s", "--spool", spool(tmp_path)])
    eventually(worker.ran, what="the test runs")
    daemon.kill()
    gate.write_text("")
    assert worker.wait() == 16, worker.output()
    assert "not handed over: test_a.py::test_slow" in worker.output()
    assert len(kept(tmp_path)) == 1
    assert submit(daemon, tmp_path, "--connect-timeout", "300ms").returncode == 16
    assert len(kept(tmp_path)) == 1, "it stays until it is on the server's disk"
    daemon.start()
    done = submit(daemon, tmp_path)
    assert done.returncode == 0, done.stderr
    assert verdicts(daemon) == {"test_a.py::test_slow": "passed", "test_a.py::test_last": "missing"}


# ---- files

def test_files_that_are_none(away, suite, tmp_path):
    worker = run_alone(1, away, suite, tmp_path)[0]
    assert worker.wait() == 1
    whole = kept(tmp_path)[0].read_bytes()
    away.start()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    body = whole[:-32]

    def signed(content):
        return content + hashlib.sha256(content).digest()
    assert signed(body) == whole
    damaged = "is damaged or cut off"
    for name, content, why in (("text", b"no frames at all", damaged), ("empty", b"", damaged),
                               ("cut", whole[:-3], damaged), ("short", whole[:2], damaged),
                               ("flipped", bytes(flipped), damaged),
                               ("bare", signed(b""), "was cut off"),
                               ("signed text", signed(b"no frames at all"), "no file of `shard run`"),
                               ("bye-less", signed(body[:body.rindex(b"\0\0\0")]), "was cut off"),
                               ("twice", signed(body + body), "does not belong there")):
        path = tmp_path / name
        path.write_bytes(content)
        done = away.shard("submit", path)
        assert done.returncode == 16, name
        assert str(path) in done.stderr and why in done.stderr, done.stderr
        assert why == damaged or "at byte" in done.stderr
        assert path.exists(), "nothing is thrown away"
    assert away.shard("submit", tmp_path / "absent").returncode == 16
    assert away.shard("submit", "--spool", tmp_path / "absent").returncode == 16
    done = away.shard("submit", env={"XDG_CACHE_HOME": str(tmp_path / "no-cache")})
    assert done.returncode == 0 and "no results wait" in done.stderr


def test_another_list(away, suite, tmp_path):
    """Results of a list that the build does not have are refused, and kept."""
    run_alone(1, away, suite, tmp_path)
    shutil.copy(str(kept(tmp_path)[0]), str(tmp_path / "copy"))
    away.start()
    other = make_suite(tmp_path, {"test_z.py": "def test_z(): pass\n"}, "other")
    assert Worker(away, other).wait() == 0
    done = submit(away, tmp_path)
    assert done.returncode == 16 and "test_z.py::test_z" in done.stderr, done.stderr
    assert len(kept(tmp_path)) == 1


def test_default_folder(away, suite, tmp_path):
    """In the user's cache folder, private; the names of build and node are made fit for a file's name."""
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    worker = Worker(away, suite, build="a/b c", env=cache, args=ALONE + ["--total", "1"])
    assert worker.wait() == 1, worker.output()
    path, = (tmp_path / "cache" / "shard" / "spool").iterdir()
    assert path.name.startswith("a-b-c-0-") and str(path) in worker.output()
    assert pathlib.Path(path.parent).stat().st_mode & 0o077 == 0
    away.start()
    assert away.shard("submit", env=cache).returncode == 0
    assert not path.exists()
