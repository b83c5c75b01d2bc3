#!/usr/bin/python3
"""Writes the seeds that are made: seeds.py FOLDER makes FOLDER/frame, FOLDER/msg and others, one for each target.

Every message is built from its description in proto/shardd.proto, and every command line from the programs' own tables,
so that a new message, field, subcommand or option is a seed without anybody's doing. Called by the Makefile's fuzz-NAME
and by tests/fuzz/test_fuzz.py.
"""
import functools
import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
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


def tags(message):
    """As a dictionary has them: what each field of a message begins with; a whole message's with its length 0."""
    for field in message.DESCRIPTOR.fields:
        packed = field.label == field.LABEL_REPEATED and field.type not in (field.TYPE_BYTES, field.TYPE_MESSAGE)
        kind = 2 if packed or field.type in (field.TYPE_BYTES, field.TYPE_STRING, field.TYPE_MESSAGE) else 0
        key, raw = field.number << 3 | kind, b""
        while key > 0x7f:
            raw, key = raw + bytes([key & 0x7f | 0x80]), key >> 7
        raw += bytes([key, 0] if field.message_type else [key])
        yield '"%s"' % "".join("\\x%02x" % byte for byte in raw)


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


# ---- questions

PROJECTS = [chr(ord("A") + place) for place in range(25)]  # of fuzz_stored.h
MIXED, PLAIN = "LMNOPQRSTUV", "Y"


def conversation(who, *bodies):
    return who.encode() + b"".join(struct.pack(">H", len(body)) + body for body in bodies)


def question(kind, project, **more):
    fields = dict(project=project.encode(), suite=b"s", build=b"b0", test=b"t0", limit=100, workers=3, boot_us=1,
                  target_us=1, reason=b"its reason", life_ms=60000, file=b"copy.db", import_test=[b"t0", b"new"],
                  import_file=[b"f0"], import_file_of=[0, 2**32 - 1], import_us=[1, 5000])
    fields.update(more)
    return wire.pb.Frame(query=wire.pb.Query(kind=kind, **fields)).SerializeToString()


def questions():
    """Of each kind: a plain one, one about each project, and one with all numbers at their largest."""
    large = {field.name: 2**64 - 1 if field.type == field.TYPE_UINT64 else 2**32 - 1
             for field in wire.pb.Query.DESCRIPTOR.fields
             if field.type in (field.TYPE_UINT64, field.TYPE_UINT32) and field.label != field.LABEL_REPEATED}
    plan = chunk([b"t0", b"t1"], [b"f0"], last=True, expected_us=[5, 604800000000])
    simulate = question(wire.pb.QUERY_SIMULATE, PLAIN, workers=1)
    for name, kind in wire.pb.QueryKind.items():
        if kind == wire.pb.QUERY_UNSET:
            continue
        name = name[len("QUERY_"):].lower()
        yield "query/%s-plain" % name, conversation(PLAIN, question(wire.pb.QUERY_FORECAST, PLAIN),
                                                    question(kind, PLAIN))
        yield "query/%s-all" % name, conversation("-", *(question(kind, project, build=b"b%d" % (place % 4), limit=0)
                                                         for place, project in enumerate(PROJECTS)))
        yield "query/%s-large" % name, conversation(MIXED[kind % len(MIXED)], *(
            question(kind, project, **{**large, **more}, boot_told=True)
            for project in MIXED for more in ({}, dict(after=0, since_ms=0))))
        yield "query/%s-list" % name, conversation(PLAIN, plan, simulate, question(wire.pb.QUERY_FORECAST, PLAIN),
                                                   question(kind, PLAIN, by_file=True))
    for project in PROJECTS:
        yield "query/project-%s" % project.lower(), conversation(project, *(
            question(kind, project, build=b"b1") for kind in wire.pb.QueryKind.values()
            if kind not in (wire.pb.QUERY_UNSET, wire.pb.QUERY_BACKUP)))


# ---- command lines

VALUES = {"BOOL": None, "UINT": "3", "DURATION": "90s", "SIZE": "64k", "STRING": "a", "LIST": "db=2",
          "workers": "2", "boot": "2s", "listen": "tcp://[::1]:1", "socket-mode": "0600", "database": "/a"}
APART = {"config", "token-file", "list-file"}  # they name files, or exclude another one


def subcommands():
    """{name: (its constant, its usage)}, from the table of `shard`."""
    text = (ROOT / "worker" / "subcommand.c").read_text()
    return {name: (bit, usage) for name, bit, usage in re.findall(r'\{"([a-z]+)", (OPTIONS_\w+), "([^"]*)"', text)}


def option_rows(path):
    """(name, type, expression of its commands, default) of each row of a table of options."""
    for row in re.findall(r"\{\.name = .*?\},?\n", path.read_text(), re.DOTALL):
        found = [re.search(r"\.%s = ([^,]*[^,}\s])" % key, row) for key in ("name", "type", "commands", "fallback")]
        yield [match.group(1).strip('"') if match else "0" for match in found]


def mask(expression, values):
    """A | B | … as a number."""
    return functools.reduce(int.__or__, (values[name] for name in re.findall(r"[A-Z_]\w*", expression)), 0)


def constants():
    """The values of OPTIONS_… and of the sums of them in the table."""
    values = {name: 1 << int(shift) for name, shift in re.findall(
        r"(OPTIONS_\w+) = 1 << (\d+)", (ROOT / "worker" / "options.h").read_text())}
    sums = re.search(r"enum \{(.*?)\};", (ROOT / "worker" / "options_table.c").read_text(), re.DOTALL).group(1)
    for name, expression in re.findall(r"(\w+) = ([\w|\s]+)", re.sub("//.*", "", sums)):
        values[name] = mask(expression, values)
    return values


def flags(rows, command, values):
    for name, kind, commands, fallback in rows:
        if name in APART or (command and not mask(commands, values) & command):
            continue
        value = VALUES.get(name, VALUES.get(kind.removeprefix("CONF_"), fallback))
        yield "--" + name if value is None else "--%s=%s" % (name, value)


def option_names():
    """Of both programs."""
    return sorted({row[0] for path in ("worker/options_table.c", "server/settings_table.c")
                   for row in option_rows(ROOT / path)})


def command_lines():
    """Each subcommand with its words, and with all its options; and the daemon with each of its options."""
    values, rows = constants(), list(option_rows(ROOT / "worker" / "options_table.c"))
    for name, (bit, usage) in subcommands().items():
        words = re.findall(r"(?<![\w\[])[A-Z]+\b(?!\])", usage.replace("COMMAND", ""))
        command = ["--", "pytest", "tests"] if "COMMAND" in usage else []
        yield "cli/" + name, "\n".join([name, *(word.lower() for word in words), *command]).encode()
        every = flags(rows, values[bit], values)
        yield "cli/%s-all" % name, "\n".join([name, *every, *(word.lower() for word in words), *command]).encode()
    for flag in flags(option_rows(ROOT / "server" / "settings_table.c"), 0, values):
        yield "cli/shardd" + flag.split("=")[0], ("shardd\n" + flag).encode()


def main(argv):
    for name, body in [*seeds(), *spools(), *questions(), *command_lines()]:
        path = pathlib.Path(argv[1]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


if __name__ == "__main__":
    main(sys.argv)
