"""Planning clients on the wire: simulations that let others be served, their bounds, and what is refused."""
import os
import signal

import pytest
from shardlib import BUILD
from wire import Wire, frame, message, pack, pb

SECOND = 1000000


def planner(daemon):
    wire = Wire(daemon.address)
    wire.hello(role=pb.ROLE_PLAN, build="plan")
    return wire


def send_list(wire, count, us=SECOND, name="t"):
    for start in range(0, count, 20000):
        ids = [("%s%d" % (name, i)).encode() for i in range(start, min(start + 20000, count))]
        wire.send(list_chunk=pb.ListChunk(id=ids, file_of=[0xffffffff] * len(ids), unit_of=range(len(ids)),
                                          expected_us=[us] * len(ids) if us is not None else []))


def ask(wire, kind, seq=1, **fields):
    wire.send(seq=seq, query=message(pb.Query, kind=kind, **fields))
    made = wire.recv()
    assert made.seq == seq
    return made


def cells(made):
    names = [name.decode() for name in made.rows.column]
    values = [cell.decode() for cell in made.rows.cell]
    return [dict(zip(names, values[i:i + len(names)])) for i in range(0, len(values), len(names))]


def test_a_simulation_lets_others_be_served(make_daemon):
    """It takes several turns of the loop: a question sent behind it is answered before it."""
    daemon = make_daemon()
    with planner(daemon) as wire:
        send_list(wire, 60000)
        wire.send_raw(b"".join(pack(frame(seq, query=message(pb.Query, **fields))) for seq, fields in enumerate((
            dict(kind=pb.QUERY_SIMULATE, workers=4), dict(kind=pb.QUERY_SERVER),
            dict(kind=pb.QUERY_SIMULATE, workers=5)), 1)))
        assert wire.expect("rows").seq == 2
        busy = wire.expect("error")
        assert (busy.seq, busy.error.code) == (3, pb.ERROR_BUSY)
        made = wire.expect("rows")
        assert made.seq == 1 and cells(made) == [{"workers": "4", "finish": str(15000 * SECOND)}]
        wire.send(seq=4, query=pb.Query(kind=pb.QUERY_SIMULATE, workers=3))
    with planner(daemon) as wire:  # the one before went away in the middle
        send_list(wire, 3)
        assert cells(ask(wire, pb.QUERY_SIMULATE, workers=2))[0]["finish"] == str(2 * SECOND)
        error = ask(wire, pb.QUERY_FORECAST).error
        assert error.code == pb.ERROR_STATE and b"one worker" in error.text
        ask(wire, pb.QUERY_SIMULATE, workers=1)
        assert [row["finish"] for row in cells(ask(wire, pb.QUERY_FORECAST, boot_us=7, boot_told=True))] == [
            str(3 * SECOND + 7), str(2 * SECOND + 7)]
        assert cells(ask(wire, pb.QUERY_FORECAST_FACTS))[0]["n_max"] == "3"


def test_at_most_eight_simulations_at_a_time(make_daemon):
    daemon = make_daemon()
    wires = [planner(daemon) for _ in range(9)]
    for wire in wires:
        send_list(wire, 20000)
        assert cells(ask(wire, pb.QUERY_SIMULATE, workers=1))[0]["finish"] == str(20000 * SECOND)
    os.kill(daemon.pid, signal.SIGSTOP)  # so that it finds all nine in one turn
    for wire in wires:
        wire.send(seq=2, query=pb.Query(kind=pb.QUERY_SIMULATE, workers=8))
    os.kill(daemon.pid, signal.SIGCONT)
    answers = [wire.recv() for wire in wires]
    assert [made.error.code for made in answers if made.HasField("error")] == [pb.ERROR_BUSY]
    assert [cells(made)[0]["finish"] for made in answers if made.HasField("rows")] == [str(2500 * SECOND)] * 8
    for wire in wires:
        wire.close()


@pytest.mark.parametrize("kind, fields, why", [
    (pb.QUERY_SIMULATE, {"workers": 0}, b"1 to 64 workers"),
    (pb.QUERY_SIMULATE, {"workers": 65}, b"1 to 64 workers"),
    (pb.QUERY_SIMULATE, {"workers": 1}, b"expected durations"),
    (pb.QUERY_FORECAST_FACTS, {}, b"no forecast was asked for"),
])
def test_questions_out_of_turn(make_daemon, kind, fields, why):
    with planner(make_daemon()) as wire:
        made = ask(wire, kind, **fields)
        assert made.error.code == pb.ERROR_STATE and why in made.error.text
        assert cells(ask(wire, pb.QUERY_SERVER)), "the connection stands"


def test_questions_of_another_role(make_daemon):
    with Wire(make_daemon().address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        for kind in (pb.QUERY_SIMULATE, pb.QUERY_FORECAST, pb.QUERY_FORECAST_FACTS):
            assert ask(wire, kind, workers=1).error.code == pb.ERROR_STATE


def test_lists_that_are_refused(make_daemon):
    daemon = make_daemon()
    with planner(daemon) as wire:
        send_list(wire, 5)
        send_list(wire, 5, us=None, name="u")
        wire.expect_error("ERROR_MALFORMED", closes=True)
    with planner(daemon) as wire:
        send_list(wire, 1, us=7 * 24 * 3600 * SECOND + 1)
        wire.expect_error("ERROR_MALFORMED", closes=True)
    with planner(daemon) as wire:
        send_list(wire, 40000)
        wire.send(seq=1, query=pb.Query(kind=pb.QUERY_SIMULATE, workers=2))
        send_list(wire, 1, name="late")
        wire.expect_error("ERROR_STATE", closes=True, skip=("rows",))
    with Wire(daemon.address) as wire:  # a worker has no say in durations
        wire.hello(build=BUILD)
        assert wire.offer(["t0"]).want == pb.LIST_SEND
        send_list(wire, 1)
        wire.expect_error("ERROR_STATE", closes=True)
