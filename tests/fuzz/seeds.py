#!/usr/bin/python3
"""Writes the seeds that are no text: seeds.py FOLDER makes FOLDER/frame, FOLDER/msg, FOLDER/chunks, FOLDER/spool.

Every message is built from its description in proto/shardd.proto, so that a new one or a new field is a seed without
anybody's doing. Called by the Makefile's fuzz-NAME and by tests/fuzz/test_fuzz.py.
"""
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import wire  # noqa: E402  it makes the message classes

NUMBERS = {"version": 1, "node_total": 2, "held_count": 1, "file_of": 0}  # where 1 breaks a rule
DIGEST = {"sha256": b"d" * 32}


def value(field, place):
    if field.message_type:
        return None
    if field.enum_type:
        return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].number
    if field.type == field.TYPE_BYTES:
        return DIGEST.get(field.name, b"t%d.py::test" % place)
    if field.name == "text_of":
        return place
    return field.type == field.TYPE_BOOL or NUMBERS.get(field.name, place + 1)


def fill(message, rows):
    """All fields set, `rows` entries in each repeated one."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof:
            continue
        if field.message_type and field.label != field.LABEL_REPEATED:
            fill(getattr(message, field.name), rows)
        elif field.label == field.LABEL_REPEATED and not field.message_type:
            getattr(message, field.name).extend(value(field, place) for place in range(rows))
        elif field.label != field.LABEL_REPEATED:
            setattr(message, field.name, value(field, 0))


def frames():
    """{name: body} of each message, empty, with one row and with three."""
    found = {}
    for name in wire.MESSAGES:
        for rows in (0, 1, 3):
            frame = wire.pb.Frame(seq=rows)
            getattr(frame, name).SetInParent()
            if rows:
                fill(getattr(frame, name), rows)
            found["%s-%d" % (name, rows)] = frame.SerializeToString()
    return found


def chunk(ids, files=(), **more):
    return wire.pb.Frame(list_chunk=wire.pb.ListChunk(
        id=ids, file=files, file_of=[0] * len(ids), unit_of=list(range(len(ids))), **more)).SerializeToString()


def stream(*bodies):
    return b"".join(struct.pack(">I", len(body)) + body for body in bodies)


def seeds():
    bodies = frames()
    yield from (("msg/" + name, body) for name, body in bodies.items())
    yield "frame/empty", b""
    yield "frame/none", struct.pack(">I", 0)
    yield "frame/long", struct.pack(">I", 65537)
    yield "frame/largest", struct.pack(">I", 65536) + b"x" * 65536
    yield "frame/all", stream(*(body for body in bodies.values() if body))
    yield "frame/cut", stream(b"abc", b"defg")[:-1]
    yield "chunks/one", stream(chunk([b"a", b"b"], [b"f"], last=True))
    yield "chunks/two", stream(chunk([b"a", b"b"], [b"f"]), chunk([b"c"], [b"g"], last=True))
    yield "chunks/again", stream(chunk([b"a"], [b"f"]), chunk([b"a"], last=True))
    yield "chunks/no-file", stream(chunk([b"a"]))
    yield "chunks/empty-file", stream(chunk([b"a"], [b""]))  # the map took a name from nowhere


def spools():
    """Files of results: without a list, with one, with a list of two chunks, and two that are in disorder."""
    hello = wire.pb.Frame(hello=wire.pb.Hello(version=1, role=1, build=b"b1", brings=True)).SerializeToString()
    offer = wire.pb.Frame(list_offer=wire.pb.ListOffer(count=3, sha256=b"d" * 32)).SerializeToString()
    whole = chunk([b"a", b"b", b"c"], [b"f"], last=True)
    first, second = chunk([b"a", b"b"], [b"f"]), chunk([b"c"], last=True)
    results = [wire.pb.Frame(seq=number, results=wire.pb.Results(
        lease=number, test=[number], status=[1], start_us=[5], setup_us=[1], call_us=[2], teardown_us=[3], first=[True],
        text_of=[0], text=[b"it failed"])).SerializeToString() for number in (1, 2)]
    bye = wire.pb.Frame(bye=wire.pb.Bye(reason=1, late=[b"afterwards"])).SerializeToString()
    yield "spool/bare", stream(hello, *results, bye)
    yield "spool/offer", stream(hello, offer, *results, bye)
    yield "spool/list", stream(hello, offer, whole, *results, bye)
    yield "spool/chunks", stream(hello, offer, first, second, results[0], bye)
    yield "spool/unfinished", stream(hello, offer, first, results[0], bye)
    yield "spool/cut", stream(hello, *results)
    yield "spool/backwards", stream(bye, results[0], hello)


def main(argv):
    for name, body in [*seeds(), *spools()]:
        path = pathlib.Path(argv[1]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


if __name__ == "__main__":
    main(sys.argv)
