"""The end check of every storm: Jepsen's rule for a queue, over what was said on the wire (proxy.Ledger) and the
database. Lost and unexpected must be empty; what is unknown may have gone either way."""
import collections
import sqlite3

PASSED, FAILED, CRASHED = 1, 2, 7
SETTLES, LOST = 1, 16
COMPLETE = 3

Found = collections.namedtuple("Found", "tests acked sent late poisoned lost unexpected")


def read(database, build):
    """(state, [(worker, id, status, flags)]) of a build; also checks the file, that a test is settled once a round, and
    the build's own counters."""
    with sqlite3.connect("file:%s?mode=ro" % database, uri=True, timeout=20) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        number, state, *counts = db.execute(
            "SELECT id, state, passed, failed, skipped, tests FROM build WHERE ext=?", (build,)).fetchone()
        rows = db.execute("SELECT r.worker, t.node, r.status, r.flags, r.round FROM result r JOIN test t ON t.id=r.test"
                          " WHERE r.build=? ORDER BY r.round, r.attempt", (number,)).fetchall()
    db.close()
    settling = [(node, status, turn) for _, node, status, flags, turn in rows if flags & SETTLES]
    assert max(collections.Counter((node, turn) for node, _, turn in settling).values()) == 1, settling
    settled = collections.Counter({node: status for node, status, _ in settling}.values())
    failing = settled[FAILED] + settled[CRASHED]
    assert [settled[PASSED], failing, 0, sum(settled.values())] == counts, (counts, settled)
    return state, [(worker, node.decode(), status, flags) for worker, node, status, flags, _ in rows]


def check(database, ledger, build, expected):
    """expected: {id: status}. Asserts the rule; gives what was found as numbers."""
    state, rows = read(database, build)
    names = sorted(expected, key=str.encode)
    sent, acked = ledger.results(build)
    stored = collections.defaultdict(set)
    for worker, name, status, flags in rows:
        if not flags & LOST:
            stored[worker, names.index(name)].add(status)
    # A worker that comes when the build is over, and knows no better, begins a round of what failed: with equal ends.
    verdicts = collections.defaultdict(set)
    for _, name, status, flags in rows:
        if flags & SETTLES:
            verdicts[name].add(status)
    vanished = collections.Counter(name for _, name, _, flags in rows if flags & LOST)
    # Three workers that vanish in one test make it crashed; nothing else may differ from what the test does.
    poisoned = {name for name in verdicts if verdicts[name] == {CRASHED} and vanished[name] >= 1}
    odd = {name: found for name, found in verdicts.items() if found != {expected[name]} and name not in poisoned}
    assert state == COMPLETE and set(verdicts) == set(expected) and not odd, (state, odd)
    lost = {key for key, statuses in acked.items() if statuses - stored[key]}
    # A result that came when the build was over is acknowledged so that its worker can go; the verdict stands.
    late = {key for key in lost if not stored[key] and names[key[1]] in verdicts}
    unexpected = {key for key, statuses in stored.items() if statuses - sent.get(key, set())}
    found = Found(len(expected), len(acked), len(sent), len(late), len(poisoned), len(lost - late), len(unexpected))
    assert not found.lost and not found.unexpected, (lost - late, unexpected)
    return found
