"""What the pytest side of a shard worker stands on: the socket by lines, the names of tests, the judgement of reports.

shard_pytest.py is the only user. Nothing in here knows a session or a hook. PYTEST_DONT_REWRITE
"""
import json.encoder
import os
import re
import sys
from contextlib import suppress
from _socket import AF_UNIX, MSG_NOSIGNAL, SOCK_STREAM, socket
from hashlib import sha256
from select import POLLIN, poll
from time import perf_counter, time
from traceback import format_exception
from types import BuiltinFunctionType

import pytest

LINE_BYTES = 1024 * 1024  # longest line taken
TEXT_BYTES = 64 * 1024  # of one failure's output
TRACE_FRAMES = 5  # of an exception outside of any test: what is above them is pytest's own
NAME_CHARS = 250  # of a group or token
ID_BYTES = 4000  # longer ids are cut and carry a digest (the limit is 4,096, and "#2" may follow)

# Tests replace parts of modules and classes: what is used after the first test is bound here, and is C code that looks
# nothing up in a module of Python's (socket.socket and json.JSONEncoder do).
quote = json.encoder.encode_basestring
scan = json.JSONDecoder().scan_once
CONTROL = re.compile("[\x00-\x1f\x7f]")


def ticks(read=os.times):
    return read().elapsed


def clocks():
    """(clock, wall): seconds that pass, and seconds since the epoch; neither can be stopped or set by a test. Whoever
    replaced the time module before this plugin was imported has left the system's ticks."""
    clock = perf_counter if isinstance(perf_counter, BuiltinFunctionType) else ticks
    begin = time() - clock()
    return clock, lambda: begin + clock()


def dump(value):
    """JSON of what this plugin says: None, bools, ints, texts, and lists and dicts of those."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{%s}" % ",".join(["%s:%s" % (quote(key), dump(each)) for key, each in value.items()])
    if isinstance(value, (list, tuple)):
        return "[%s]" % ",".join([dump(each) for each in value])
    return {None: "null", True: "true", False: "false"}[value] if value is None or value is True or value is False \
        else "%d" % value


def parse(text):
    """The JSON value that a line is; ValueError: it is none."""
    text = text.strip()
    try:
        value, end = scan(text, 0)
    except StopIteration:
        raise ValueError("no value at %.20r" % text) from None
    if end != len(text):
        raise ValueError("more behind a value: %.20r" % text[end:])
    return value


class Link:
    """The socket, by lines. Never raises: what went wrong is kept in `trouble`, and the loop raises it."""

    def __init__(self, address):
        self.trouble = None
        self.text = ""  # lines not yet encoded
        self.wire = b""  # bytes not yet sent
        self.heard = b""  # bytes of an unfinished line
        self.sock = socket(AF_UNIX, SOCK_STREAM)  # of _socket, not the class that tests patch; not inheritable: PEP 446
        self.sock.settimeout(None)  # whatever socket.setdefaulttimeout was told
        self.sock.connect(address)
        self.poll = poll()
        self.poll.register(self.sock.fileno(), POLLIN)

    def put(self, line):
        self.text += line

    def say(self, kind, **fields):
        self.put(dump(dict(fields, t=kind)) + "\n")
        self.flush()

    def flush(self):
        """Send all that was put; what a signal handler's exception interrupts is continued by the next call."""
        if self.text:
            self.wire, self.text = self.wire + self.text.encode("utf-8"), ""
        try:
            while self.wire and self.sock:
                self.wire = self.wire[self.sock.send(self.wire, MSG_NOSIGNAL):]
        except OSError as error:
            self.fail("lost the connection to the shard worker: %s" % error)

    def receive(self, seconds):
        """Some bytes, b"" when none came in time (None: however long it takes) or none will ever."""
        try:
            if not self.sock or not self.poll.poll(None if seconds is None else max(0, int(seconds * 1000 + 0.999))):
                return b""
            data = self.sock.recv(65536)
        except OSError as error:
            self.fail("lost the connection to the shard worker: %s" % error)
            return b""
        if not data:
            self.fail("lost the connection to the shard worker: it closed it")
        return data

    def hear(self, seconds):
        """The messages that arrive within the time, as soon as there are any."""
        data = self.receive(seconds)
        if not data:
            return []
        lines = (self.heard + data).split(b"\n")
        self.heard = lines.pop()
        if len(self.heard) > LINE_BYTES:
            return self.complain("a message from the shard worker is longer than %d bytes" % LINE_BYTES)
        try:
            messages = [parse(line.decode("utf-8")) for line in lines if line]
        except ValueError as error:
            return self.complain("a message from the shard worker is no JSON: %s" % error)
        return [message for message in messages if isinstance(message, dict)]

    def complain(self, why):
        """Protocol trouble: tell the other end, then no more."""
        self.say("error", text=valid(why))
        return self.fail(why)

    def fail(self, why):
        self.trouble = self.trouble or why
        return []

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None


# Names.

def valid(text):
    """Text that is valid UTF-8 and has no NUL."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def clean(name):
    """A name that is one line of valid UTF-8, at most ID_BYTES long; nearly always the name itself."""
    if name.isprintable() and 4 * len(name) <= ID_BYTES:
        return name
    name = CONTROL.sub(lambda found: "\\x%02x" % ord(found.group()), valid(name))
    data = name.encode("utf-8")
    if len(data) <= ID_BYTES:
        return name
    return "%s...%s" % (data[:ID_BYTES - 64].decode("utf-8", "ignore"), sha256(data).hexdigest()[:32])


def path_of(node):
    return str(getattr(node, "path", None) or getattr(node, "fspath", None) or "")


def file_of(node, root):
    """As the worker gets it; None: it has none."""
    path = path_of(node)
    return clean(os.path.relpath(path, root).replace(os.sep, "/")) if path else None


class Skipped:
    """Stands for a file or class that was skipped as a whole while it was collected: pytest counts it as one skip."""

    parent = None

    def __init__(self, report, collector):
        self.path = path_of(collector)
        self.nodeid = report.nodeid
        self.name = report.nodeid
        self.reason = skip_reason(report)


def name_tests(items):
    """{id: item} in the items' order, and the ids that more than one item has: the second becomes "ID#2"."""
    tests, duplicates, counts = {}, [], {}
    for item in items:
        base = name = clean(item.nodeid)
        if name in tests:
            if base not in counts:
                duplicates.append(base)
            count = counts.get(base, 1)
            while name in tests:
                count += 1
                name = "%s#%d" % (base, count)
            counts[base] = count
        tests[name] = item
    return tests, duplicates


def unit_of(item):
    """What tests that belong together have in common: the outermost class, else the function without its parameters."""
    found, node = None, item.parent
    while node is not None:
        if isinstance(node, pytest.Class):
            found = node
        node = node.parent
    return found or (item.parent, getattr(item, "originalname", None) or item.name.split("[")[0])


def marks_of(item):
    """What the test's marks ask for: "gNAME", one worker runs all of that group; "tNAME", it needs that token."""
    found = []
    for mark in item.iter_markers() if hasattr(item, "iter_markers") else ():
        if mark.name == "xdist_group":
            found.append("g%s" % (mark.args[0] if mark.args else mark.kwargs.get("name", "default")))
        elif mark.name == "serial":
            found.append("tserial")
        elif mark.name == "shard":
            found.extend(shard_marks(mark.kwargs))
    return [clean_mark(mark) for mark in sorted(set(found)) if len(mark) > 1]


def shard_marks(asked):
    tokens = asked.get("tokens") or ()
    for token in tokens if isinstance(tokens, (list, tuple, set, frozenset)) else [tokens]:
        yield "t%s" % token
    if asked.get("group"):
        yield "g%s" % asked["group"]
    if asked.get("serial"):
        yield "tserial"
    if asked.get("exclusive"):
        yield "texclusive"


def clean_mark(mark):
    return clean(mark)[:NAME_CHARS]


# Results.

RANK = {"passed": 0, "xpassed": 1, "xfailed": 2, "skipped": 3, "failed": 4, "error": 5}


def judge(heard):
    """(status, {phase: seconds}, text) of a test from all its reports, each with its seconds and whether it shows that
    the test's call passed. Rerunfailures' attempts count by their time."""
    spent, lost = {"setup": 0.0, "call": 0.0, "teardown": 0.0}, 0.0
    verdicts, begin, proven = {}, 0, False
    for index, (report, seconds, proof) in enumerate(heard):
        when = report.when
        if when in spent:
            spent[when] = seconds  # a subtest's comes first and is part of its test's
        if report.outcome == "rerun":
            lost += sum(spent.values())
            spent = dict.fromkeys(spent, 0.0)
            verdicts, begin, proven = {}, index + 1, False
        elif RANK.get(verdicts.get(when), 0) < RANK["failed"]:
            verdicts[when] = verdict(report)
            proven = proven or proof
    spent["call"] += lost
    status = max(verdicts.values(), key=RANK.get, default=None)
    if status is None:
        return "error", spent, "pytest gave no report of this test: some plugin took it and did not run it"
    if RANK[status] <= RANK["xpassed"] and not proven:
        return "error", spent, "nothing shows that this test ran: pytest reported no passed call of it, only: %s; a " \
            "plugin or an option left its call out" % ", ".join(sorted(map(str, verdicts)))
    return status, spent, None if status == "passed" else describe([report for report, _, _ in heard[begin:]])


def is_subtest(report):
    """Of a part of a test, by pytest-subtests or pytest 9: it says nothing about the test as a whole."""
    return type(report).__name__.lower() == "subtestreport"


def seconds_of(report, most):
    """A duration that somebody else measured, on a clock that may have been stopped or set: within what passed here."""
    duration = getattr(report, "duration", None)
    return min(most, max(0.0, duration)) if isinstance(duration, (int, float)) and duration == duration else 0.0


def bounded(spent, elapsed):
    """The phases, cut so that they are no longer together than the time that passed."""
    left = max(0.0, elapsed)
    for phase in spent:
        spent[phase] = min(spent[phase], left)
        left -= spent[phase]
    return spent


def verdict(report):
    """As pytest's terminal counts it."""
    if hasattr(report, "wasxfail"):
        return "xpassed" if report.outcome == "passed" else "xfailed"
    if report.outcome == "failed":
        return "failed" if report.when == "call" else "error"
    return "skipped" if report.outcome == "skipped" else "passed"


def describe(reports):
    """What a person needs to know: the failures with what they printed, or else the reasons."""
    parts, reasons, shown = [], [], set()
    for report in reports:
        if hasattr(report, "wasxfail"):
            reasons.append(str(report.wasxfail))
        elif report.outcome == "skipped":
            reasons.append(skip_reason(report))
        elif report.outcome == "failed":
            if report.when != "call":
                parts.append("ERROR at %s of %s" % (report.when, report.nodeid))
            parts.append(report.longreprtext.rstrip("\n"))
            for section in report.sections:
                if section not in shown:
                    shown.add(section)
                    parts.append("%s\n%s" % (section[0].center(60, "-"), section[1].rstrip("\n")))
    return cut("\n".join(parts or [reason for reason in reasons if reason]))


def traced(what, error):
    """What went wrong outside of any test, and where. A test may have replaced what reads the sources."""
    text = type(error).__name__
    with suppress(Exception):
        text = "".join(format_exception(type(error), error, error.__traceback__, -TRACE_FRAMES))
    return cut("%s\n%s" % (what, text.rstrip("\n")))


def skip_reason(report):
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) and len(longrepr) == 3 else report.longreprtext
    return text[len("Skipped: "):] if text.startswith("Skipped: ") else text


def cut(text):
    data = valid(text).encode("utf-8")
    if len(data) <= TEXT_BYTES:
        return data.decode("utf-8")
    half = TEXT_BYTES // 2 - 64
    return "%s\n... %d bytes left out ...\n%s" % (
        data[:half].decode("utf-8", "ignore"), len(data) - 2 * half, data[-half:].decode("utf-8", "ignore"))


def facts_of():
    """What this process is, as workers of one build are compared: nothing that differs between like machines."""
    implementation = sys.implementation
    build = [getattr(sys, "abiflags", ""), "64" if sys.maxsize > 2 ** 32 else "32"]
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        build.append("free-threaded")
    if hasattr(sys, "gettotalrefcount"):
        build.append("debug")
    found = {"pytest": pytest.__version__, "python": "%s %s" % (implementation.name, sys.version.split()[0]),
             "abi": " ".join(part for part in build + [getattr(implementation, "_multiarch", "")] if part),
             "os": os_name(), "system": os.uname().sysname, "machine": os.uname().machine}
    for name in ("TOX_ENV_NAME", "TOXENV", "NOXSESSION", "DJANGO_SETTINGS_MODULE"):
        found["tests." + name] = os.environ.get(name, "")
    return found


def os_name():
    """Of a system's version the first two numbers: images of one name are brought up to date while a build runs."""
    found = {}
    with suppress(OSError), open("/etc/os-release") as lines:
        for line in lines:
            name, _, value = line.strip().partition("=")
            found[name] = value.strip("\"'")
    version = ".".join(found.get("VERSION_ID", "").split(".")[:2])
    return " ".join(part for part in (found.get("ID", ""), version) if part)


def digest_of(paths, config):
    """Of the files that hold tests, the conftest files and the configuration: where it is the same, so is the list, as
    far as that depends on them."""
    every = {str(path) for path in paths}
    every.update(str(plugin.__file__) for plugin in config.pluginmanager.get_plugins()
                 if os.path.basename(str(getattr(plugin, "__file__", None) or "")) == "conftest.py")
    if config.inipath:
        every.add(str(config.inipath))
    root, whole = str(config.rootpath), sha256()
    for name, path in sorted((os.path.relpath(path, root), path) for path in every):
        one = sha256()
        with suppress(OSError), open(path, "rb") as file:
            one.update(file.read())
        whole.update(os.fsencode(name) + b"\0" + one.digest())
    return whole.hexdigest()
