"""The end check of every storm: Jepsen's rule for a queue, over what was said on the wire (proxy.Ledger) and the
database. Lost and unexpected must be empty; what is unknown may have gone either way.

A result that comes when its build is over is acknowledged, so that its worker can go, and not kept. No other may be
missing: one that is counts as late only if the build could have been over before its Ack was heard, which is when for
each test the result that became its verdict had been sent.
"""
import collections
import math
import sqlite3

PASSED, FAILED, CRASHED = 1, 2, 7
SETTLES, LOST = 1, 16
COMPLETE = 3

Row = collections.namedtuple("Row", "worker name status flags round start_ms")
Found = collections.namedtuple("Found", "tests acked sent late poisoned lost unexpected")


def read(database, build):
    """(state, [Row], {round: when it began}) of a build; also checks the file, that a test is settled once a round,
    and the build's own counters."""
    with sqlite3.connect("file:%s?mode=ro" % database, uri=True, timeout=20) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        number, state, *counts = db.execute(
            "SELECT id, state, passed, failed, skipped, tests FROM build WHERE ext=?", (build,)).fetchone()
        rows = [Row(worker, node.decode(), *rest) for worker, node, *rest in db.execute(
            "SELECT r.worker, t.node, r.status, r.flags, r.round, r.start_ms FROM result r JOIN test t ON t.id=r.test"
            " WHERE r.build=? ORDER BY r.round, r.attempt", (number,))]
        rounds = {n: at_ms / 1000 for n, at_ms in db.execute("SELECT n, at_ms FROM round WHERE build=?", (number,))}
    db.close()
    settling = [row for row in rows if row.flags & SETTLES]
    assert max(collections.Counter((row.name, row.round) for row in settling).values()) == 1, settling
    settled = collections.Counter({row.name: row.status for row in settling}.values())
    failing = settled[FAILED] + settled[CRASHED]
    assert [settled[PASSED], failing, 0, sum(settled.values())] == counts, (counts, settled)
    return state, rows, {1: 0, **rounds}


def verdicts(rows, expected):
    """({id: statuses of its verdicts}, those of which three vanished workers made a crash). A worker that comes when
    the build is over, and knows no better, begins a round of what failed: with equal ends."""
    found = collections.defaultdict(set)
    for row in rows:
        if row.flags & SETTLES:
            found[row.name].add(row.status)
    vanished = {row.name for row in rows if row.flags & LOST}
    poisoned = {name for name in vanished if found[name] == {CRASHED}}
    odd = {name: statuses for name, statuses in found.items() if statuses != {expected[name]} and name not in poisoned}
    assert set(found) == set(expected) and not odd, odd
    return poisoned


def key_of(row, names):
    return row.worker, names.index(row.name), row.status, row.start_ms


def over(rows, rounds, told, names):
    """[(from, until)]: when the build may have been over. Each round but the last is ended by the next one's begin."""
    settled, found = {}, []
    for turn in sorted(rounds):
        for row in rows:
            if row.round == turn and row.flags & SETTLES:
                sent_s, _ = told.get(key_of(row, names), (0, None))  # 0: nobody sent it, which fails by itself
                settled[row.name] = row.start_ms / 1000 if row.flags & LOST else sent_s
        if len(settled) == len(names):
            found.append((max(settled.values()), rounds.get(turn + 1, math.inf) + 0.001))  # of rounded milliseconds
    return found


def check(database, ledger, build, expected):
    """expected: {id: status}. Asserts the rule; gives what was found as numbers."""
    state, rows, rounds = read(database, build)
    names = sorted(expected, key=str.encode)
    poisoned = verdicts(rows, expected)
    assert state == COMPLETE, state
    told = ledger.results(build)
    acked = {key: when for key, when in told.items() if when[1] is not None}
    stored = {key_of(row, names) for row in rows if not row.flags & LOST}
    ends = over(rows, rounds, told, names)
    late = {key for key in set(acked) - stored
            if any(acked[key][1] >= begin and acked[key][0] < end for begin, end in ends)}
    lost, unexpected = set(acked) - stored - late, stored - set(told)
    found = Found(len(expected), len(acked), len(told), len(late), len(poisoned), len(lost), len(unexpected))
    assert not lost and not unexpected, "lost: %s; unexpected: %s" % (sorted(lost), sorted(unexpected))
    return found
