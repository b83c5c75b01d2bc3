"""Attacks on a daemon's address, for test_attacks.py: what strangers, broken clients and attackers send. Each checks
that it gets the documented error or the end of its connection. They may run side by side."""
import contextlib
import random
import socket
import struct
import time

from wire import SOURCES, Wire, WireClosed, WireTimeout, frame, message, pack, pb

IDS = ["test_%02d" % i for i in range(12)]
ATTACKS = []


def attack(function):
    ATTACKS.append(function)
    return function


# ---- bytes that are no frames

def refused(address, data, code, hello=False):
    with Wire(address) as wire:
        if hello:
            wire.hello()
        with contextlib.suppress(WireClosed):
            wire.send_raw(data)
        wire.expect_error(code, closes=True)


@attack
def oversize_length(address):
    for size in (0xffffffff, 0x7fffffff, 1 << 24, (1 << 20) + 1, (1 << 16) + 1):
        refused(address, struct.pack(">I", size), "ERROR_TOO_LARGE")


@attack
def oversize_length_after_hello(address):
    for size in (0xffffffff, (1 << 20) + 1):
        refused(address, struct.pack(">I", size), "ERROR_TOO_LARGE", hello=True)


@attack
def oversize_with_all_its_bytes(address):
    refused(address, struct.pack(">I", 1 << 22) + bytes(1 << 22), "ERROR_TOO_LARGE")


@attack
def zero_length(address):
    for hello in (False, True):
        refused(address, bytes(4), "ERROR_MALFORMED", hello)


@attack
def random_bytes(address):
    dice = random.Random(4270)
    for _ in range(60):
        with Wire(address) as wire, contextlib.suppress(WireClosed):
            wire.send_raw(dice.randbytes(dice.randrange(1, 4000)))
            wire.sock.shutdown(socket.SHUT_WR)
            made = wire.recv()
            assert pb.ErrorCode.Name(made.error.code) in ("ERROR_TOO_LARGE", "ERROR_MALFORMED", "ERROR_STATE")


@attack
def random_bodies(address):
    dice = random.Random(4271)
    for _ in range(60):
        body = dice.randbytes(dice.randrange(1, 300))
        with Wire(address) as wire:
            wire.hello(build="victim")
            wire.send_raw(struct.pack(">I", len(body)) + body)
            made = wire.expect("error")
            assert pb.ErrorCode.Name(made.error.code) in ("ERROR_MALFORMED", "ERROR_STATE")
            wire.expect_end()


@attack
def bent_messages(address):
    """Good messages with one bit turned: whatever they mean then, they do no harm."""
    dice = random.Random(4272)
    good = pack(frame(hello=message(pb.Hello, version=1, role=pb.ROLE_WORKER, project="bent", build="bent", node="x",
                                    held_lease=[1, 2], held_count=[1, 1], held_test=[3, 4], session="s" * 16)))
    for _ in range(200):
        bent = bytearray(good)
        bent[dice.randrange(4, len(bent))] ^= 1 << dice.randrange(8)
        with Wire(address) as wire, contextlib.suppress(WireClosed):
            wire.send_raw(bent)
            wire.expect("error", "welcome")


@attack
def other_protocols(address):
    for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
                  b"SSH-2.0-OpenSSH_9.2\r\n", b"*1\r\n$4\r\nPING\r\n", b"EHLO me\r\n"):
        refused(address, words, "ERROR_TOO_LARGE")


@attack
def truncated(address):
    whole = pack(frame(hello=message(pb.Hello, version=1, role=pb.ROLE_WORKER, project="t", build="t")))
    for size in list(range(1, len(whole))) * 3:
        with Wire(address) as wire:
            wire.send_raw(whole[:size])


@attack
def gone_before_the_answer(address):
    whole = pack(frame(hello=message(pb.Hello, version=1, role=pb.ROLE_ADMIN)))
    query = pack(frame(1, query=pb.Query(kind=pb.QUERY_STATUS)))
    for _ in range(100):
        with Wire(address) as wire:
            wire.send_raw(whole + query * 20)


@attack
def frames_without_a_message(address):
    refused(address, pack(pb.Frame(seq=7)), "ERROR_MALFORMED")
    refused(address, struct.pack(">I", 4) + b"\xfa\x7f\x01x", "ERROR_MALFORMED", hello=True)  # field 2047


@attack
def a_bomb_of_empty_items(address):
    """A body that takes a hundred times its size when it is unpacked."""
    for hello, size in ((False, 65000), (True, 1000000)):
        item = b"\x0a\x00" * (size // 2)  # ListChunk.id, empty, again and again
        body = b"\x32" + varint(len(item)) + item
        refused(address, struct.pack(">I", len(body)) + body, "ERROR_MALFORMED", hello)


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


# ---- messages out of place

def one_row(test):
    return dict(lease=1, test=[test], status=[1], start_us=[0], setup_us=[0], call_us=[0], teardown_us=[0],
                first=[False])


def misplaced(address, *before, code="ERROR_STATE", **body):
    with Wire(address) as wire:
        for step in before:
            step(wire)
        wire.send(**body)
        wire.expect_error(code, closes=True, skip=("ack", "list_reply", "lease", "parked", "recall"))


def hello(wire):
    wire.hello(build="victim")


def listed(wire):
    assert wire.list(IDS).want == pb.LIST_OK


@attack
def anything_before_hello(address):
    for body in (dict(heartbeat={}), dict(lease_request={}), dict(seq=1, results=one_row(0)),
                 dict(bye=dict(reason=pb.BYE_DONE)), dict(query=dict(kind=pb.QUERY_STATUS)),
                 dict(list_offer=dict(count=1, sha256=bytes(32)))):
        misplaced(address, **body)


@attack
def hello_twice(address):
    second = dict(version=1, role=pb.ROLE_WORKER, project="wire", build="victim")
    misplaced(address, hello, hello=second)
    misplaced(address, lambda wire: wire.hello(role=pb.ROLE_ADMIN), hello=second)


@attack
def what_only_servers_say(address):
    for body in (dict(welcome=dict(version=1)), dict(ack=dict(seq=9)), dict(drained=dict(reason=1)),
                 dict(goodbye=dict(exit_code=0)), dict(revoke=dict(lease=[1])), dict(rows={}), dict(parked={}),
                 dict(error=dict(code=1)), dict(list_reply=dict(want=1)),
                 dict(lease=dict(lease=1, test=[0], cap_ms=[0], est_ms=[0]))):
        misplaced(address, hello, **body)


@attack
def list_requests_that_fit_nothing(address):
    """Behind the end of a list, of no list, from who is no worker; and many, whose answers nobody reads."""
    for asked in (dict(tests=1), dict(files=1)):
        misplaced(address, lambda wire: wire.hello(build="listless"), list_request=asked)
    for asked in (dict(tests=len(IDS) + 1), dict(files=1)):
        misplaced(address, hello, listed, list_request=asked)
    misplaced(address, hello, code="ERROR_MALFORMED", list_request=dict(tests=0xffffffff))
    misplaced(address, lambda wire: wire.hello(role=pb.ROLE_ADMIN), list_request={})
    with Wire(address) as wire:
        hello(wire)
        listed(wire)
        for _ in range(3000):
            wire.send(list_request=dict(sources=SOURCES))


@attack
def results_before_the_list(address):
    misplaced(address, lambda wire: wire.hello(build="listless"), seq=1, results=one_row(0))


@attack
def unknown_test_numbers(address):
    misplaced(address, hello, listed, seq=1, results=one_row(len(IDS)))
    misplaced(address, hello, listed, code="ERROR_MALFORMED", seq=1, results=one_row(0xffffffff))


@attack
def results_of_strangers_leases(address):
    """Claims about tests in other hands are acknowledged, so that the sender goes on, and change nothing."""
    with Wire(address) as owner, Wire(address) as thief:
        owner.hello(build="owned", node="0")
        listed(owner)
        lease = owner.lease().lease
        thief.hello(build="owned", node="1")
        listed(thief)
        for claimed in (lease.lease, lease.lease + 1, 0, 2 ** 64 - 1):
            thief.wait_ack(thief.results(claimed, list(lease.test), status=pb.STATUS_FAILED))
        while True:
            owner.wait_ack(owner.results(lease.lease, list(lease.test)))
            answer = owner.lease()
            if answer.WhichOneof("body") == "drained":
                break
            lease = answer.lease
        owner.send(bye=dict(reason=pb.BYE_DONE))
        goodbye = owner.expect("goodbye", skip=("ack", "revoke", "recall")).goodbye
        assert (goodbye.exit_code, goodbye.failing) == (0, 0)


@attack
def leases_claimed_at_the_door(address):
    """A hello that says it holds what it does not."""
    with Wire(address) as wire:
        claimed = list(range(1, 17))
        welcome = wire.hello(build="claimed", session=bytes(16), held_lease=claimed, held_count=[2] * 16,
                             held_test=list(range(32)))
        assert set(welcome.revoked) <= set(claimed)
        listed(wire)
        row = wire.results(1, [0], status=pb.STATUS_FAILED)
        wire.wait_ack(row)
        assert wire.lease().lease.test, "nothing is settled by a claim"


@attack
def counts_that_do_not_add_up(address):
    for fields in (dict(held_lease=[1], held_count=[2], held_test=[0]), dict(held_lease=[1, 2], held_count=[1]),
                   dict(held_lease=[1], held_count=[0xffffffff], held_test=[0]),
                   dict(held_lease=list(range(17)), held_count=[0] * 17)):
        made = message(pb.Hello, version=1, role=pb.ROLE_WORKER, project="p", build="b", session="s" * 16, **fields)
        refused(address, pack(frame(hello=made)), "ERROR_MALFORMED")


@attack
def hellos_that_break_a_rule(address):
    good = dict(version=1, role=pb.ROLE_WORKER, project="p", build="b")
    for fields in (dict(role=0), dict(role=77), dict(project="x" * 1025), dict(build="nul\0"), dict(node="n" * 1025),
                   dict(token="t" * 257), dict(retried=9), dict(session="s" * 65)):
        refused(address, pack(frame(hello=message(pb.Hello, **dict(good, **fields)))), "ERROR_MALFORMED")


@attack
def lists_nobody_asked_for(address):
    misplaced(address, hello, listed, list_chunk=dict(id=["x"], file_of=[0xffffffff], unit_of=[0], last=True))


@attack
def lists_that_break_a_rule(address):
    rows = 0
    for chunk in (dict(id=[""]), dict(id=["nul\0"]), dict(id=["two\nlines"]), dict(id=["x" * 4097]),
                  dict(id=["a", "b"], file_of=[0]), dict(id=["a"], file_of=[5]), dict(id=["a", "a"]),
                  dict(id=["a"], file=["f", "f"]), dict(id=["i%d" % i for i in range(20001)])):
        rows += 1
        with Wire(address) as wire:
            wire.hello(build="list-%d" % rows)
            assert wire.offer(IDS).want == pb.LIST_SEND
            wire.send(list_chunk=dict(chunk, last=True))
            wire.expect_error("ERROR_MALFORMED", closes=True)


@attack
def a_list_that_never_ends(address):
    """Half a list, then silence or goodbye: the next who offers is asked."""
    with Wire(address) as first, Wire(address) as second:
        first.hello(build="halved")
        assert first.offer(IDS).want == pb.LIST_SEND
        first.send(list_chunk=dict(id=IDS[:5], file_of=[0xffffffff] * 5, unit_of=[0] * 5))
        second.hello(build="halved", node="1")
        second.send(list_offer=dict(count=len(IDS), sha256=bytes(32)))
        first.close()
        assert second.expect("list_reply").list_reply.want == pb.LIST_SEND


@attack
def rows_that_break_a_rule(address):
    good = dict(lease=1, test=[0, 1], status=[1, 1], start_us=[0, 0], setup_us=[0, 0], call_us=[0, 0],
                teardown_us=[0, 0], first=[False, False])
    for fields in (dict(status=[1]), dict(status=[1, 99]), dict(status=[1, 0]), dict(start_us=[0] * 3),
                   dict(text_of=[0]), dict(text_of=[2], text=["x"]), dict(text_of=[1, 0], text=["a", "b"]),
                   dict(text_of=[0, 0], text=["a", "b"]), dict(text_of=[0], text=["nul\0"]),
                   dict(text_of=[0], text=["x" * 65537]), dict(first=[True])):
        misplaced(address, hello, listed, code="ERROR_MALFORMED", seq=1, results=dict(good, **fields))


@attack
def numbers_of_messages(address):
    """Numbers that skip or repeat are acknowledged up to the highest; there is no number 0."""
    with Wire(address) as wire:
        wire.hello(build="numbers")
        listed(wire)
        lease = wire.lease().lease
        for seq in (1, 1, 5, 3, 5):
            wire.results(lease.lease, list(lease.test), seq=seq)
        wire.wait_ack(5)
        wire.send(heartbeat={})
        assert wire.expect("ack").ack.seq == 5
        wire.results(lease.lease, list(lease.test), seq=0)
        wire.expect_error("ERROR_MALFORMED", closes=True, skip=("ack",))  # what came again is acknowledged again


@attack
def bye_twice(address):
    with Wire(address) as wire:
        wire.hello(build="left")
        listed(wire)
        wire.send(bye=dict(reason=pb.BYE_DONE))
        wire.send(bye=dict(reason=pb.BYE_DONE))
        wire.send(lease_request={})
        wire.send(heartbeat={})
        assert wire.expect("goodbye", skip=("ack", "parked", "drained")).goodbye.exit_code == 16


@attack
def questions_that_make_no_sense(address):
    with Wire(address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        for kind in (pb.QUERY_REPORT, pb.QUERY_WORKERS):
            wire.send(seq=5, query=message(pb.Query, kind=kind, project="none", suite="none", build="\033[2Jnone"))
            made = wire.expect("error")
            assert (made.seq, made.error.code) == (5, pb.ERROR_UNKNOWN)
        wire.send(seq=6, query=message(pb.Query, kind=pb.QUERY_SLOW, project="' OR 1=1 --", limit=0xffffffff))
        made = wire.expect("error")
        assert (made.seq, made.error.code) == (6, pb.ERROR_UNKNOWN)
        wire.send(seq=7, query=pb.Query(kind=pb.QUERY_PLAN, workers=0xffffffff))
        assert wire.expect("error").error.code == pb.ERROR_STATE


@attack
def names_that_talk_to_terminals(address):
    """What strangers call themselves stands in the log, but cannot act from there (besieged looks)."""
    evil = "\033]0;x\007\nlevel=error event=forged \u202eabc"
    with Wire(address) as wire:
        wire.hello(project=evil, build=evil, node=evil, host=evil, client=evil, commit=evil, branch=evil)
        wire.send(bye=dict(reason=pb.BYE_FAILED, text=evil, late=[evil]))
        wire.expect("goodbye")


# ---- too much, too slow

@attack
def a_flood_of_lease_requests(address):
    with Wire(address) as wire:
        wire.hello(build="flooded")
        listed(wire)
        request = pack(frame(lease_request=pb.LeaseRequest(names=True)))
        with contextlib.suppress(WireClosed, socket.timeout):
            for _ in range(100):
                wire.send_raw(request * 200)
        answers = 0
        with contextlib.suppress(WireClosed, WireTimeout):
            while True:
                wire.expect("lease", "parked", "drained", "revoke", "recall", timeout=0.5)
                answers += 1
        assert answers >= 1


def stuff(wire, data, seconds=10):
    """Sends for ever without reading; True when the other end had enough of it."""
    deadline = time.monotonic() + seconds
    wire.sock.settimeout(0.2)
    while time.monotonic() < deadline:
        try:
            wire.sock.send(data)
        except socket.timeout:
            continue
        except OSError:
            return True
    return False


@attack
def never_reading(address):
    with Wire(address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        query = pack(frame(1, query=message(pb.Query, kind=pb.QUERY_BUILDS, project="honest")))
        assert stuff(wire, query * 1000)


@attack
def never_reading_heartbeats(address):
    with Wire(address) as wire:
        wire.hello(build="deaf")
        assert stuff(wire, pack(frame(heartbeat=pb.Heartbeat())) * 2000)


@attack
def a_flood_of_waiting_questions(address):
    with Wire(address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        for seq in range(1, 100):
            wire.send(seq=seq, query=message(pb.Query, kind=pb.QUERY_WAIT, project="p", suite="s", build="none"))
        refused = [wire.expect("error") for _ in range(16, 99)]
        assert {made.error.code for made in refused} == {pb.ERROR_BUSY}
        assert {made.seq for made in refused} == set(range(17, 100))  # those that may wait came first


@attack
def silence(address):
    """A connection that never says hello ends by itself."""
    with Wire(address) as wire:
        began = time.monotonic()
        wire.expect_error("ERROR_TIMEOUT", closes=True, timeout=15)
        assert time.monotonic() - began > 0.5


@attack
def a_hello_byte_by_byte(address):
    """Slowness gains no time: the hello must be whole when the timeout ends."""
    whole = pack(frame(hello=message(pb.Hello, version=1, role=pb.ROLE_WORKER, project="slow", build="x" * 500)))
    with Wire(address) as wire:
        began = time.monotonic()
        ready = False
        for byte in whole:
            try:
                wire.send_raw(bytes([byte]))
                ready = wire.recv(timeout=0.02)
                break
            except WireTimeout:
                continue
            except WireClosed:
                break
        assert time.monotonic() - began < 10  # of the 12 and more that it takes to send
        assert not ready or ready.error.code == pb.ERROR_TIMEOUT


@attack
def three_hundred_connections(address):
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Wire(address)) for _ in range(300)]
        for wire in crowd[::3]:
            wire.hello(expect=None, build="crowd")
        for wire in crowd[1::3]:
            wire.send_raw(b"\0\0")
        for wire in crowd[::3]:
            wire.expect("welcome")
        for wire in crowd[1::3] + crowd[2::3]:
            wire.expect_error("ERROR_TIMEOUT", closes=True)


@attack
def connections_in_quick_turn(address):
    for _ in range(1000):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.connect(address[len("unix:"):])
