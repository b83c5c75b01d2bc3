"""What clients make a daemon hold is bounded, for each and for all: lists that never end, plans, answers that nobody
reads. A build beside them goes its way; who is turned away comes again."""
import contextlib
import os
import random
import signal
import threading

import pytest
from shardlib import Worker, eventually, make_suite
from wire import Wire, WireClosed, frame, message, pack, pb

MIB = 1 << 20
ROWS, ID_BYTES, CHUNKS = 20, 2000, 9  # of an upload that stops: 360 KB of ids, which are held twice


def server(daemon):
    """What QUERY_SERVER tells of the daemon."""
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send(seq=1, query=message(pb.Query, kind=pb.QUERY_SERVER))
        cells = [cell.decode() for cell in wire.expect("rows").rows.cell]
    return dict(zip(cells[::2], cells[1::2]))


def held(daemon):
    return int(server(daemon)["held_bytes"])


def chunk(dice, rows=ROWS, size=ID_BYTES):
    ids = [dice.randbytes(size // 2).hex() for _ in range(rows)]
    return dict(id=[i.encode() for i in ids], file_of=[0xffffffff] * rows, unit_of=list(range(rows)))


def begin(stack, daemon, number, chunks=CHUNKS, size=ID_BYTES):
    """A connection in the middle of its upload, or the Error that ended it."""
    dice = random.Random(number)
    wire = stack.enter_context(Wire(daemon.address))
    wire.hello(project="project", build="never%d" % number)
    wire.send(list_offer=dict(count=500000, sha256=bytes(32)))
    assert wire.expect("list_reply").list_reply.want == pb.LIST_SEND
    with contextlib.suppress(WireClosed):
        for _ in range(chunks):
            wire.send(list_chunk=chunk(dice, size=size))
    wire.send(heartbeat={})
    made = wire.expect("ack", "error")
    return wire, made.error if made.HasField("error") else None


class Beating:
    """Connections that go on saying that they live, each now and then with a test more."""

    def __init__(self, wires, trickle):
        self.wires, self.trickle, self.over = wires, trickle, threading.Event()
        self.thread = threading.Thread(target=self.beat)

    def beat(self):
        dice = random.Random(1)
        while not self.over.wait(0.2):
            for wire in self.wires:
                with contextlib.suppress(WireClosed, OSError):
                    wire.send(heartbeat={})
                    if self.trickle:
                        wire.send(list_chunk=chunk(dice, 1, 40))

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def list_worker(daemon, tmp_path, tests=200, size=3000, args=()):
    """A real worker whose list takes 2 * tests * size bytes of the server's."""
    ids = "".join("%s %d\n" % (random.Random(n).randbytes(size // 2).hex(), n) for n in range(tests))
    return Worker(daemon, make_suite(tmp_path, {"run.sh": "exit 0\n", "ids": ids}), command=["sh", "run.sh", "{}"],
                  args=["--list-file", "ids", "--results", "exit", *args])


@pytest.mark.parametrize("trickle", [False, True], ids=["silent", "trickle"])
def test_uploads_that_never_end(make_daemon, tmp_path, trickle):
    """Twelve connections upload, live on and never finish. What they hold is bounded; a build that finds no room for
    its list in the middle sends it again, once those who do not get on were ended, and is green."""
    daemon = make_daemon(list_memory="4M", lease_ttl="1s", heartbeat="200ms")
    with contextlib.ExitStack() as stack:
        begun = [begin(stack, daemon, number) for number in range(12)]
        errors = [error for _, error in begun if error]
        stay = [wire for wire, error in begun if not error]
        assert 3 <= len(stay) <= 6 and {error.code for error in errors} == {pb.ERROR_BUSY}
        assert all(error.retry_us > 0 and b"list-memory" in error.text for error in errors)
        with Beating(stay, trickle):
            done = list_worker(daemon, tmp_path)
            assert done.wait() == 0, done.output()
            assert "is busy: lists of other clients fill the memory" in done.output(), done.output()
            assert int(server(daemon)["held_bytes_most"]) < 4 * MIB + 4 * MIB, "lists, and buffers of few connections"
    assert daemon.shard("wait").returncode == 0
    eventually(lambda: held(daemon) < 128 * 1024, what="all is given back")
    daemon.stop()
    assert "list came too slowly" in daemon.log()


def test_a_worker_gives_up(make_daemon, tmp_path):
    """Where no room comes, --server-timeout holds, although the server asks for the list again and again."""
    daemon = make_daemon(list_memory="4M")
    with contextlib.ExitStack() as stack:
        assert sum(begin(stack, daemon, number)[1] is None for number in range(8)) >= 3
        tired = list_worker(daemon, tmp_path, args=["--server-timeout", "5s"])
        assert tired.wait() == 16, tired.output()
        assert "lists of other clients" in tired.output()


def test_a_list_that_never_fits(make_daemon, tmp_path):
    """A list above the bound of one is not tried again."""
    daemon = make_daemon(list_memory="1M")
    done = list_worker(daemon, tmp_path)
    assert done.wait() == 16, done.output()
    assert "half of list-memory" in done.output() and "busy" not in done.output()
    eventually(lambda: held(daemon) < 128 * 1024, what="all is given back")


def test_plans_keep_no_build_out(make_daemon, tmp_path):
    """All plans take half of the memory at most; a build's list fits beside them."""
    daemon = make_daemon(list_memory="4M")
    with contextlib.ExitStack() as stack:
        answers = []
        for number in range(8):
            dice = random.Random(number)
            wire = stack.enter_context(Wire(daemon.address))
            wire.hello(role=pb.ROLE_PLAN)
            with contextlib.suppress(WireClosed):
                for _ in range(CHUNKS):
                    wire.send(list_chunk=dict(chunk(dice), expected_us=[1000] * ROWS))
                wire.send(seq=7, query=message(pb.Query, kind=pb.QUERY_SIMULATE, workers=2))
            made = wire.expect("rows", "error")
            answers.append(made.error.code if made.HasField("error") else 0)
        assert set(answers) == {0, pb.ERROR_BUSY} and answers.count(0) >= 2
        assert MIB < held(daemon) < 4 * MIB
        done = list_worker(daemon, tmp_path)
        assert done.wait() == 0, done.output()
        assert "busy" not in done.output()
    eventually(lambda: held(daemon) < 128 * 1024, what="all is given back")


def test_answers_that_nobody_reads(make_daemon):
    """Such a connection is ended, and what was queued for it is free again."""
    daemon = make_daemon(lease_ttl="1s", heartbeat="200ms")
    ids = ["%s %d" % ("x" * 1000, number) for number in range(2000)]
    with Wire(daemon.address) as owner, Wire(daemon.address) as reader:
        owner.hello(project="project", build="1", node="0")
        assert owner.offer(ids).want == pb.LIST_SEND
        owner.upload(ids, chunk=500)
        assert owner.expect("list_reply").list_reply.want == pb.LIST_OK
        reader.hello(project="project", build="1", node="1")
        for page in range(0, 2000, 200):
            reader.send(list_request=dict(tests=page))

        def ended():
            owner.send(heartbeat={})
            return "nothing was read for too long" in daemon.log() or int(server(daemon)["connections"]) == 2
        eventually(ended, what="the connection that does not read is ended")
        eventually(lambda: held(daemon) < 128 * 1024, what="its answers are given back")


def test_many_questions_hold_up_nobody(daemon, tmp_path):
    """Questions that come all at once are answered one a turn, and connections take turns: a worker's request waits
    for one at most. What was answered is counted by the daemon, at the moment that it takes the request."""
    done = list_worker(daemon, tmp_path)
    assert done.wait() == 0, done.output()
    with contextlib.ExitStack() as stack:
        askers = [stack.enter_context(Wire(daemon.address)) for _ in range(15)]
        for wire in askers:
            wire.hello(role=pb.ROLE_PLAN, project="project", suite="default")
        worker, looker = (stack.enter_context(Wire(daemon.address)) for _ in range(2))
        worker.hello(project="project", build="other", node="0")
        looker.hello(role=pb.ROLE_ADMIN)
        answered = int(server(daemon)["questions_answered"])
        os.kill(daemon.pid, signal.SIGSTOP)
        for wire in askers:
            for seq in range(1, 5):
                wire.send(seq=seq, query=message(pb.Query, kind=pb.QUERY_FORECAST))
        worker.send(heartbeat={})
        looker.send(seq=1, query=message(pb.Query, kind=pb.QUERY_SERVER))
        os.kill(daemon.pid, signal.SIGCONT)
        cells = [cell.decode() for cell in looker.expect("rows").rows.cell]
        assert int(dict(zip(cells[::2], cells[1::2]))["questions_answered"]) - answered <= 2, "what begins a turn late"
        worker.expect("ack")
        for wire in askers:
            assert [wire.expect("rows").seq for _ in range(4)] == [1, 2, 3, 4]
        assert int(server(daemon)["questions_answered"]) - answered == 60


def test_too_many_questions(daemon):
    """What waits is bounded; the rest is refused, and the connection stays."""
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send_raw(b"".join(pack(frame(seq, query=message(pb.Query, kind=pb.QUERY_STATUS)))
                               for seq in range(1, 1001)))
        answers = [wire.expect("rows", "error") for _ in range(1000)]
        assert sorted(made.seq for made in answers) == list(range(1, 1001))
        refused = {made.error.code for made in answers if made.HasField("error")}
        assert refused <= {pb.ERROR_BUSY} and sum(made.HasField("rows") for made in answers) >= 64
        wire.send(seq=1001, query=message(pb.Query, kind=pb.QUERY_STATUS))
        assert wire.expect("rows").seq == 1001
