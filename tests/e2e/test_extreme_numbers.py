"""Numbers that make no sense: told by a worker, or standing in the database since an older version. The daemon believes
none of them, answers every question, and goes on after a restart."""
import contextlib
import os
import re
import sqlite3
import struct
import time

import pytest
from shardlib import eventually
from wire import Wire, message, pb

YEAR_MS = 365 * 24 * 3600 * 1000
NOW_MS = int(time.time() * 1000)
EXTREMES = [-1, 2**62, 2**63 - 1, -2**63]
IDS = ["a.py::test_%d" % i for i in range(4)]


def run_build(daemon, build, node="0", statuses=(), **times):
    """A build of one worker; times: columns of its results, as one number for all."""
    with Wire(daemon.address) as wire:
        wire.hello(build=build, node=node, branch="main", commit="c" + build)
        assert wire.list(IDS, files=["a.py"] * len(IDS)).want == pb.LIST_OK
        while True:
            lease = wire.lease()
            if lease.WhichOneof("body") != "lease":
                break
            tests = list(lease.lease.test)
            n, wire.seq = len(tests), wire.seq + 1
            columns = dict(start_us=[int(time.time() * 1e6)] * n, setup_us=[0] * n, call_us=[1000] * n,
                           teardown_us=[0] * n)
            columns.update({name: [value] * n for name, value in times.items()})
            wire.send(seq=wire.seq, results=message(
                pb.Results, lease=lease.lease.lease, test=tests, first=[False] * n,
                status=[dict(statuses).get(test, pb.STATUS_PASSED) for test in tests], **columns))
            wire.wait_ack(wire.seq)
        wire.send(bye=pb.Bye(reason=pb.BYE_DONE))
        wire.expect("goodbye", skip=("drained", "ack"))


def ask(daemon, kind, **fields):
    """Rows as dicts, with None for empty cells; an Error as its text."""
    values = dict(kind=kind, project="wire", suite="default")
    values.update(fields)
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_PLAN, project="wire", suite="default")
        wire.send(seq=1, query=message(pb.Query, **values))
        answer = wire.expect("rows", "error")
    if answer.WhichOneof("body") == "error":
        return answer.error.text.decode()
    names, cells = [name.decode() for name in answer.rows.column], answer.rows.cell
    return [{name: (answer.rows.type[i], cells[row + i].decode() or None) for i, name in enumerate(names)}
            for row in range(0, len(cells), len(names))]


def makes_sense(rows):
    """No cell is a time, a span or a share that cannot be."""
    for row in rows if isinstance(rows, list) else []:
        for name, (kind, cell) in row.items():
            if cell is None or kind == pb.COLUMN_TEXT:
                continue
            value = int(cell)
            assert kind != pb.COLUMN_DURATION or 0 <= value <= 2**62, (name, cell)
            assert kind != pb.COLUMN_TIME or 0 <= value <= 2**42, (name, cell)
            assert kind != pb.COLUMN_RATIO or -2**50 < value < 2**50, (name, cell)
    return rows


def ask_all(daemon, **fields):
    for kind in pb.QueryKind.values():
        if kind not in (pb.QUERY_UNSET, pb.QUERY_WAIT, pb.QUERY_BACKUP):
            makes_sense(ask(daemon, kind, **fields))
        assert daemon.running(), daemon.log()[-3000:]


@pytest.fixture
def filled(make_daemon):
    daemon = make_daemon()
    for build in range(3):
        run_build(daemon, "b%d" % build, statuses={build: pb.STATUS_FAILED})
    eventually(lambda: isinstance(ask(daemon, pb.QUERY_SLOW), list) and len(ask(daemon, pb.QUERY_SLOW)) == 4,
               what="the builds are learned from")
    return daemon


# ---- what a worker tells

@pytest.mark.parametrize("start_us", [0, 1, 2**62, 2**63 - 1, 2**64 - 1,
                                      pytest.param((NOW_MS + 20 * YEAR_MS) * 1000, id="in 20 years")])
def test_clocks_of_workers(daemon, start_us):
    """A start is believed near the build; the questions that draw with it are answered, also after a restart."""
    run_build(daemon, "b", start_us=start_us)
    for _ in range(2):
        runs = ask(daemon, pb.QUERY_TEST, test=IDS[0])
        shown = [int(cell) for row in runs for kind, cell in row.values() if kind == pb.COLUMN_TIME and cell]
        assert shown and all(abs(ms - NOW_MS) < 2 * 3600 * 1000 for ms in shown), runs
        ask_all(daemon, build="b", test=IDS[0])
        daemon.restart()


@pytest.mark.parametrize("phase", ["setup_us", "call_us", "teardown_us"])
def test_no_test_took_longer_than_was_there(daemon, phase):
    """The clock of the test process stood still, or ran ahead: the server knows when it gave out the lease."""
    began = time.monotonic()
    run_build(daemon, "b", **{phase: 2**32 - 1})
    took_us = (time.monotonic() - began) * 1e6
    rows = ask(daemon, pb.QUERY_REPORT, build="b")
    spans = [sum(int(cell) for name, (kind, cell) in row.items() if kind == pb.COLUMN_DURATION and cell)
             for row in rows]
    assert spans and all(0 < us <= took_us + 2.1e6 for us in spans), rows
    assert "unbelieved=" in daemon.log()


def test_after_a_restart_the_build_is_the_bound(make_daemon):
    """A lease of before has no beginning here: the test may have begun when its build did, and not before."""
    daemon = make_daemon(lease_ttl="20s")
    with Wire(daemon.address) as wire:
        welcome = wire.hello(build="b")
        assert wire.list(IDS[:1]).want == pb.LIST_OK
        lease = wire.lease().lease.lease
    daemon.restart()
    with Wire(daemon.address) as wire:
        wire.hello(build="b", session=welcome.session, held_lease=[lease], held_count=[1], held_test=[0])
        wire.wait_ack(wire.results(lease, [0], call_us=2**32 - 1))
    row, = ask(daemon, pb.QUERY_REPORT, build="b")
    span = sum(int(cell) for kind, cell in row.values() if kind == pb.COLUMN_DURATION and cell)
    assert 0 < span < 60e6


def test_policies(daemon):
    """Every number of a Hello at its largest."""
    with Wire(daemon.address) as wire:
        wire.hello(build="b", node_total=2**32 - 1, policy=pb.Policy(
            retries=2**32 - 1, max_failures=2**32 - 1, linger_us=2**64 - 1, timeout_per_test_us=2**64 - 1,
            min_workers=2**32 - 1, min_workers_us=2**64 - 1, token=[b"db"], token_count=[2**32 - 1]))
        assert wire.list(IDS).want == pb.LIST_OK
        wire.send(lease_request=pb.LeaseRequest(start_us=2**64 - 1))
        lease = wire.expect("lease").lease
        wire.send(heartbeat=pb.Heartbeat(lease=lease.lease, test=lease.test[0], running_us=2**64 - 1))
        wire.expect("ack")
        wire.wait_ack(wire.results(lease.lease, list(lease.test), status=pb.STATUS_FAILED))
    daemon.restart()
    ask_all(daemon, build="b", test=IDS[0])


@pytest.mark.parametrize("number", [2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_questions(filled, number):
    """Every number of a Query at its largest, of each kind."""
    small = min(number, 2**32 - 1)
    ask_all(filled, build="b0", test=IDS[0], since_ms=number, after=number, boot_us=number, boot_told=True,
            target_us=number, life_ms=number, limit=small, workers=small, reason="x")
    ask_all(filled, test=IDS[0], boot_us=number, boot_told=True, target_us=number, workers=64)


# ---- what stands in the database

COLUMNS = {
    "result": ["start_ms", "setup_us", "call_us", "teardown_us", "worker", "status", "flags", "round"],
    "build": ["started_ms", "ended_ms", "tests", "passed", "failed", "skipped", "workers", "retries", "max_failures",
              "linger_us", "timeout_per_test_us", "on_retry", "state", "predicted_us", "round", "learned_round",
              "learned"],
    "worker": ["joined_ms", "left_ms", "tests", "failed", "busy_us", "speed_ppm", "acked"],
    "dur_stat": ["n", "setup_us", "last_us", "est_us", "high_us", "runs7", "cost7", "base_us", "step_us", "step_ms"],
    "file_stat": ["setup_us", "n"],
    "flake_stat": None,  # all of its numbers
}


@contextlib.contextmanager
def opened(daemon):
    """Its database, while it does not run."""
    with contextlib.closing(sqlite3.connect(daemon.database)) as database, database:
        yield database


def numbers_of(database, table):
    return [name for _, name, form, *_ in database.execute("PRAGMA table_info(%s)" % table)
            if form in ("INTEGER", "REAL") and name not in ("test", "build", "id", "suite")]


def spoil(daemon, table, column, value):
    with opened(daemon) as database:
        known = numbers_of(database, table)
        if column not in known:
            return False
        real = dict((name, form) for _, name, form, *_ in database.execute("PRAGMA table_info(%s)" % table))
        value = float(value) if real[column] == "REAL" else value
        try:
            return database.execute("UPDATE %s SET %s=?" % (table, column), (value,)).rowcount > 0
        except sqlite3.IntegrityError:
            return False


def goes_on(daemon, round_):
    """It answers everything, a further build runs, teaches, and everything is answered again."""
    ask_all(daemon, build="b0", test=IDS[0])
    run_build(daemon, "more%d" % round_, statuses={1: pb.STATUS_FAILED})
    ask_all(daemon, test=IDS[0])


@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("table", list(COLUMNS))
def test_stored(filled, table, value):
    """All columns of a table at once at an extreme; for the largest also one after the other."""
    assert filled.stop() == 0
    with opened(filled) as database:
        columns = COLUMNS[table] or numbers_of(database, table)
    whole = content_of(filled.database)
    for round_, column in enumerate((columns if value == 2**63 - 1 else []) + ["*"]):
        put_back(whole, filled.database)
        spoilt = [spoil(filled, table, name, value) for name in (columns if column == "*" else [column])]
        if not any(spoilt):
            continue
        filled.start()
        goes_on(filled, round_)
        assert filled.stop() == 0, (table, column, filled.log()[-3000:])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0, 3e38])
def test_stored_floats(filled, value):
    """Durations are kept as floats in a ring, rates as doubles."""
    assert filled.stop() == 0
    with opened(filled) as database:
        size = len(database.execute("SELECT ring FROM dur_stat").fetchone()[0])
        database.execute("UPDATE dur_stat SET n=1000, ring=?", (struct.pack("<f", value) * (size // 4),))
        for table in ("dur_stat", "flake_stat"):
            for _, name, form, *_ in database.execute("PRAGMA table_info(%s)" % table).fetchall():
                if form == "REAL" and value == value:  # SQLite has no NaN
                    database.execute("UPDATE %s SET %s=?" % (table, name), (value,))
    filled.start()
    goes_on(filled, 0)
    assert filled.stop() == 0, filled.log()[-3000:]


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


def put_back(content, path):
    for ending in ("-wal", "-shm"):
        if os.path.exists(path + ending):
            os.unlink(path + ending)
    with open(path, "wb") as file:
        file.write(content)


def test_no_error_of_sql_in_the_log(filled):
    """None of the above was answered by an arithmetic error of the database."""
    assert filled.stop() == 0
    spoil(filled, "dur_stat", "est_us", 2**63 - 1)
    spoil(filled, "worker", "busy_us", 2**63 - 1)
    filled.start()
    goes_on(filled, 0)
    assert not re.search("overflow", filled.log()), filled.log()[-3000:]
