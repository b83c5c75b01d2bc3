"""No question holds up the daemon, however much is stored: while one is open, workers lease and report, and what they
report reaches the disk. Nothing here measures time; what counts is what happens between a question and its answer."""
import contextlib
import select
import sqlite3
import struct
import time

import pytest
from shardlib import eventually
from wire import Wire, frame, message, pack, pb

TESTS, BUILDS, WORKERS = 100000, 150000, 64
LEASES = 200  # at most, to count
LEAST = 5     # leases between a question and its answer …
TIMES = 40    # … once, of so many times that it is asked
IDS = ["tests/unit/test_%d.py::TestSomething::test_that_it_works[%d]" % (i // 100, i) for i in range(TESTS)]
NOW_MS = int(time.time() * 1000)
DAY_MS = 24 * 3600 * 1000

# A build of all tests whose list came over the wire; what followed, and what it taught.
HISTORY = """
UPDATE build SET state=3, started_ms=:now-7200000, ended_ms=:now-3600000, learned_round=1, tests=:tests, passed=:tests,
  workers=:workers;
DELETE FROM worker;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<:workers-1)
  INSERT INTO worker(build, idx, node, attempt, host, session, joined_ms, left_ms, tests, busy_us)
  SELECT 1, i, 'node'||i, '', 'host', randomblob(16), :now-7200000, :now-3600000, 1, 1000 FROM n;
INSERT INTO result SELECT 1, id, 1, id%:workers, iif(id%3, 1, 4), iif(id%3, 1, 0), 1, :now-7000000+id, 0, 1000, 0
  FROM test;
INSERT INTO result SELECT 1, id, 2, (id+1)%:workers, 1, 1, 1, :now-6000000+id, 0, 1000, 0 FROM test WHERE id%3=0;
INSERT INTO output SELECT 1, id, 1, CAST('needs '||id%50 AS BLOB) FROM test WHERE id%3=0;
INSERT INTO dur_stat(test, suite, n, ring, setup_us, last_us, est_us, builds, runs7, cost7, cost_ms, high_us, base_us,
  step_us, step_ms, step_from, step_to)
  SELECT id, suite, 1, :ring, 0, 1000, 1000+id, NULL, 1, 1000, :now, 1000, 500, 1000, :now, 1, 1 FROM test;
INSERT INTO flake_stat(test, suite, flips, runs, fails, builds, last_flip_ms, state, last_event_ms, last_fail_ms,
  last_good, first_bad, hits, since_ms, f, r)
  SELECT id, suite, 1, 9, 3, 9, :now, 2+id%3, :now, :now, 1, 1, 1, :now, 1, 9 FROM test;
INSERT INTO state_log(suite, test, at_ms, old, new, who, why) SELECT suite, id, :now, 'healthy', 'flaky', '', 'why'
  FROM test;
INSERT INTO quarantine SELECT id, suite, 'manual', 'why', 'who', '', :now, :now+86400000, 0 FROM test WHERE id%2;
WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<:builds)
  INSERT INTO build(id, suite, ext, commit_sha, branch, state, retries, max_failures, on_retry, by_file, linger_us,
    timeout_per_test_us, started_ms, ended_ms, learned_round)
  SELECT i, 1, 'b'||i, 'c'||i, 'main', 3, 0, 0, 1, 0, 0, 0, :now-7200000, :now-3600000, 1 FROM n;
INSERT INTO result SELECT id, (SELECT min(id) FROM test), 1, 0, 1, 1, 1, :now, 0, 1000, 0
  FROM build WHERE id>:builds-10000;
"""
MOST = dict(limit=100000)
NONE = dict(since_ms=NOW_MS + DAY_MS, **MOST)  # all is looked at, none is it
QUESTIONS = {  # kind: what is asked, so that much has to be looked at
    "BUILDS": NONE,
    "WORKERS": dict(build="big"),
    "SLOW": dict(since_ms=NOW_MS - DAY_MS, **MOST),
    "FLAKY": MOST,
    "BROKEN": MOST,
    "SLOWER": MOST,
    "TEST": NONE,
    "LOG": NONE,
    "QUARANTINE": MOST,
    "DURATIONS": MOST,
    "BUILD": dict(build="big"),
    "TIMELINE": dict(build="big"),
    "SKIPS": dict(build="big"),
    "WAIT": dict(build="big"),
    "REPORT": dict(build="big", **MOST),
    "FORECAST": {},
    "PLAN": dict(workers=16),
}


@pytest.fixture
def filled(make_daemon):
    """A daemon with a large history."""
    daemon = make_daemon(lease_ttl="60s", quarantine="report")
    files = ["tests/unit/test_%d.py" % (i // 100) for i in range(TESTS)]
    with Wire(daemon.address) as wire:
        wire.hello(build="big", branch="main", commit="c")
        assert wire.list(IDS, files=files).want == pb.LIST_OK
    daemon.kill()
    with sqlite3.connect(daemon.database) as db:
        values = dict(now=NOW_MS, tests=TESTS, builds=BUILDS, workers=WORKERS, ring=struct.pack("<8f", *[1000.0] * 8))
        for statement in HISTORY.split(";\n"):
            db.execute(statement, {name: value for name, value in values.items() if ":" + name in statement})
    db.close()
    return daemon.start()


class Work:
    """A worker of another build, whose tests need a token, so that each is a lease of its own."""

    def __init__(self, stack, daemon, build):
        self.wire = stack.enter_context(Wire(daemon.address))
        self.wire.hello(project="other", build=build)
        ids, places = [("test_%d" % i).encode() for i in range(LEASES)], range(LEASES)
        assert self.wire.offer(ids).want == pb.LIST_SEND
        self.wire.send(list_chunk=pb.ListChunk(id=ids, file_of=[0xffffffff] * LEASES, unit_of=places, last=True,
                                               mark=[b"tdb"], mark_test=places, mark_of=[0] * LEASES))
        assert self.wire.expect("list_reply").list_reply.want == pb.LIST_OK

    def lease(self):
        """Leases a test and reports it; a test more is leased only once that has arrived."""
        lease = self.wire.lease().lease
        assert len(lease.test) == 1
        self.wire.results(lease.lease, list(lease.test))


def upload(wire):
    """A list to plan with, which has arrived."""
    wire.upload(IDS)
    wire.send(seq=1, query=pb.Query(kind=pb.QUERY_SERVER))
    assert wire.expect("rows").seq == 1


def answered(daemon):
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send(seq=1, query=pb.Query(kind=pb.QUERY_SERVER))
        cells = [cell.decode() for cell in wire.expect("rows").rows.cell]
    told = dict(zip(cells[::2], cells[1::2]))
    return int(told["questions_answered"]), int(told["held_bytes"])


def leases_before_answer(daemon, build, kind, fields):
    """How many tests were leased and reported between a question and its answer."""
    with contextlib.ExitStack() as stack:
        work, wire = Work(stack, daemon, build), stack.enter_context(Wire(daemon.address))
        wire.hello(role=pb.ROLE_PLAN, project="wire", suite="default")
        if kind == "PLAN":
            upload(wire)
        wire.send(seq=7, query=message(pb.Query, **dict(dict(
            kind=pb.QueryKind.Value("QUERY_" + kind), project="wire", suite="default",
            test=IDS[0] if kind == "TEST" else b""), **fields)))
        count = -1  # the first may have come in the same turn as the question
        while count < LEASES - 1 and not select.select([wire.sock], [], [], 0)[0]:
            work.lease()
            count += 1
        assert wire.expect("rows").seq == 7
        return count


def test_every_question_yields(filled):
    for kind, fields in QUESTIONS.items():
        counts = []
        while max(counts, default=0) < LEAST and len(counts) < TIMES:
            counts.append(leases_before_answer(filled, "%s%d" % (kind, len(counts)), kind, fields))
        assert max(counts) >= LEAST, (kind, counts)


def test_a_client_that_goes(daemon):
    """Its questions are dropped, that in hand too, and what they held is given back."""
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_PLAN)
        upload(wire)
        for seq in range(2, 62):
            wire.send(seq=seq, query=pb.Query(kind=pb.QUERY_PLAN, workers=1024))
        assert answered(daemon)[0] < 60
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send(seq=1, query=message(pb.Query, kind=pb.QUERY_BUILDS, project="wire"))
        assert wire.expect("rows", "error").seq == 1
    assert answered(daemon)[0] < 60
    eventually(lambda: answered(daemon)[1] < 1 << 20, what="the list is given back")


def refused_beside_a_plan(daemon, seq, **body):
    """The Error that answers what is sent while a question about a list is worked on; None: it was answered before."""
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_PLAN)
        wire.send(list_chunk=pb.ListChunk(id=[b"t%d" % i for i in range(20000)], file_of=[0xffffffff] * 20000,
                                          unit_of=range(20000), expected_us=[1000] * 20000))
        wire.send_raw(b"".join(pack(frame(number, query=message(pb.Query, **fields))) for number, fields in enumerate((
            dict(kind=pb.QUERY_PLAN, workers=1024), dict(kind=pb.QUERY_SERVER)), 1)))
        if wire.expect("rows").seq == 1:
            return None
        wire.send(seq=seq, **body)
        made = wire.expect("rows", "error")
        return made if made.HasField("error") else None


@pytest.mark.parametrize("code,seq,body", [
    (pb.ERROR_BUSY, 3, dict(query=pb.Query(kind=pb.QUERY_SIMULATE, workers=4))),
    (pb.ERROR_STATE, 0, dict(list_chunk=pb.ListChunk(id=[b"more"], file_of=[0xffffffff], unit_of=[20000],
                                                     expected_us=[1])))], ids=["simulation", "chunk"])
def test_the_list_stays_as_it_is(daemon, code, seq, body):
    """While a question about a list is worked on, nothing is added to the list, and no simulation begins."""
    tries = (refused_beside_a_plan(daemon, seq, **body) for _ in range(TIMES))
    refused = next(made for made in tries if made)
    assert (refused.seq, refused.error.code) == (seq, code)


def test_a_daemon_that_stops(daemon):
    """It does not wait for a question."""
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_PLAN)
        upload(wire)
        wire.send(seq=2, query=pb.Query(kind=pb.QUERY_PLAN, workers=1024))
        answered(daemon)
        assert daemon.stop() == 0
    assert "error" not in daemon.log()
