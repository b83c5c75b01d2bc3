"""The wire protocol in Python, for end-to-end tests and attacks: speaks to a daemon without using any of its code.

    from wire import Wire, pb

    with Wire("unix:/tmp/x/shardd.sock") as wire:
        welcome = wire.hello(project="p", suite="default", build="1", node="0")
        wire.send(lease_request=pb.LeaseRequest(names=True))
        lease = wire.expect("lease").lease

The message classes are generated from proto/shardd.proto at import, so that they cannot differ from what was built.
Text may be given as str wherever a field is bytes.
"""
import atexit
import hashlib
import importlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FRAME_MAX_BYTES = 1024 * 1024
DEFAULT_PORT = 4270
PATIENCE = 120.0  # seconds; a bound for a broken daemon, never a wait for an outcome


def _generate():
    folder = tempfile.mkdtemp(prefix="shard-wire-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    proto = os.path.join(ROOT, "proto")
    subprocess.run(["protoc", "--proto_path=" + proto, "--python_out=" + folder, os.path.join(proto, "shardd.proto")],
                   check=True)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("shardd_pb2")
    finally:
        sys.path.remove(folder)


pb = _generate()
MESSAGES = [field.name for field in pb.Frame.DESCRIPTOR.oneofs_by_name["body"].fields]


SOURCES = b"s" * 32  # of the files that were looked through for tests


class WireClosed(Exception):
    """The other end closed the connection; .rest holds the bytes of an unfinished frame."""

    def __init__(self, text, rest=b""):
        super().__init__(text)
        self.rest = rest


class WireTimeout(Exception):
    pass


class Unexpected(AssertionError):
    """Another message than the expected one came: .frame."""

    def __init__(self, wanted, frame):
        super().__init__("expected %s, got %s: %s" % ("/".join(wanted), kind(frame), str(frame)[:2000]))
        self.frame = frame


def kind(frame):
    """The name of a frame's message, as in the oneof: "lease", "ack", …"""
    return frame.WhichOneof("body")


def message(cls, **fields):
    """A message of `cls`; str becomes bytes where the field is bytes, also inside of lists."""
    made = cls()
    for name, value in fields.items():
        field = cls.DESCRIPTOR.fields_by_name[name]
        if field.type == field.TYPE_BYTES:
            value = [_bytes(v) for v in value] if field.label == field.LABEL_REPEATED else _bytes(value)
        if field.label == field.LABEL_REPEATED:
            getattr(made, name).extend(value)
        elif field.message_type is not None:
            getattr(made, name).CopyFrom(value if not isinstance(value, dict)
                                         else message(getattr(pb, field.message_type.name), **value))
        else:
            setattr(made, name, value)
    return made


def _bytes(value):
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def frame(seq=0, **body):
    """A Frame around one message given by name: frame(7, results=pb.Results(...)). A dict stands for its message."""
    made = pb.Frame(seq=seq)
    for name, value in body.items():
        field = pb.Frame.DESCRIPTOR.fields_by_name[name]
        if isinstance(value, dict):
            value = message(getattr(pb, field.message_type.name), **value)
        getattr(made, name).CopyFrom(value)
        getattr(made, name).SetInParent()  # present, also when all its fields are unset
    return made


def pack(made):
    """Header and body of a frame, without a look at any bound."""
    body = made.SerializeToString()
    return struct.pack(">I", len(body)) + body


def digest(ids):
    """What ListOffer.sha256 must be: over the ids in byte order, each followed by a newline."""
    return hashlib.sha256(b"".join(i + b"\n" for i in sorted(_bytes(i) for i in ids))).digest()


def numbers(ids):
    """{id: its number on the wire}: its place among the ids in byte order."""
    return {i: n for n, i in enumerate(sorted(_bytes(i) for i in ids))}


def connect(address, timeout=PATIENCE):
    """A connected socket for unix:/path, tcp://host[:port] or tcp://[v6]:port."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(address[len("unix:"):])
        return sock
    if not address.startswith("tcp://"):
        raise ValueError("no address: %r" % address)
    host, port = address[len("tcp://"):], DEFAULT_PORT
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = int(rest[1:]) if rest else port
    elif ":" in host:
        host, _, text = host.rpartition(":")
        port = int(text)
    sock = socket.create_connection((host, port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Wire:
    """One connection. Everything blocks, with a bound; nothing is retried."""

    def __init__(self, address, timeout=PATIENCE):
        self.address = address
        self.timeout = timeout
        self.sock = connect(address, timeout)
        self.held = b""
        self.seq = 0  # of the last Results sent by results()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a TCP reset instead of an orderly end (on a Unix socket: just closes)."""
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # ---- sending

    def send_raw(self, data):
        """Bytes as they are. WireClosed when the other end is gone."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise WireClosed("%s: %s" % (self.address, error), self.held) from error

    def send(self, made=None, seq=0, **body):
        """A Frame, or one message by name: send(heartbeat=dict(lease=1)). Returns what was sent."""
        made = frame(seq, **body) if made is None else made
        self.send_raw(pack(made))
        return made

    # ---- receiving

    def recv(self, timeout=None):
        """The next Frame. WireTimeout when none comes in time, WireClosed at the end of the stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self._fill(4, deadline)
        size = struct.unpack(">I", self.held[:4])[0]
        if not 0 < size <= FRAME_MAX_BYTES:
            raise WireClosed("%s announces a frame of %d bytes" % (self.address, size), self.held)
        self._fill(4 + size, deadline)
        body, self.held = self.held[4:4 + size], self.held[4 + size:]
        return pb.Frame.FromString(body)

    def _fill(self, size, deadline):
        while len(self.held) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise WireTimeout("%s sent nothing more in time (%d bytes held)" % (self.address, len(self.held)))
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(256 * 1024)
            except socket.timeout:
                continue
            except ConnectionResetError as error:
                raise WireClosed("%s: %s" % (self.address, error), self.held) from error
            finally:
                self.sock.settimeout(self.timeout)
            if not data:
                raise WireClosed("%s closed the connection" % self.address, self.held)
            self.held += data

    def expect(self, *wanted, timeout=None, skip=()):
        """The next Frame, which must be one of `wanted`; those named in `skip` are passed over."""
        while True:
            made = self.recv(timeout)
            if kind(made) in wanted:
                return made
            if kind(made) not in skip:
                raise Unexpected(wanted, made)

    def expect_error(self, code, closes, timeout=None, skip=()):
        """The next Frame must be an Error with `code` (a name of ErrorCode); `closes`: then the stream must end."""
        error = self.expect("error", timeout=timeout, skip=skip).error
        name = pb.ErrorCode.Name(error.code)
        assert name == code, "expected %s, got %s: %s" % (code, name, error.text.decode("utf-8", "replace"))
        if closes:
            self.expect_end(timeout)
        return error

    def expect_end(self, timeout=None):
        """The stream must end without a further frame."""
        try:
            made = self.recv(timeout)
        except WireClosed as closed:
            assert not closed.rest, "the stream ended inside a frame: %r" % closed.rest[:100]
            return
        raise AssertionError("expected the end of the stream, got %s: %s" % (kind(made), made))

    # ---- the beginning and the middle of a worker's life

    def hello(self, expect="welcome", **fields):
        """Says Hello as a worker of protocol version 1 unless the fields say otherwise; returns the Welcome. With
        expect=None only sends."""
        values = dict(version=1, role=pb.ROLE_WORKER, client="wire.py", project="wire", suite="default", build="1",
                      host="localhost")
        values.update(fields)
        self.send(hello=message(pb.Hello, **values))
        return getattr(self.expect(expect), expect) if expect else None

    def offer(self, ids, max_failures=0):
        """Offers a list; returns the ListReply."""
        self.send(list_offer=dict(count=len(ids), sha256=digest(ids), max_failures=max_failures, sources=SOURCES))
        return self.expect("list_reply").list_reply

    def upload(self, ids, files=None, units=None, chunk=5000):
        """Sends a list in collection order, in chunks; `files`: per id a name or None. Returns nothing: the server's
        answer is the next ListReply."""
        known = {}
        for start in range(0, max(len(ids), 1), chunk):
            part = pb.ListChunk(last=start + chunk >= len(ids))
            for i in range(start, min(start + chunk, len(ids))):
                name = files[i] if files else None
                if name is not None and name not in known:
                    known[name] = len(known)
                    part.file.append(_bytes(name))
                part.id.append(_bytes(ids[i]))
                part.file_of.append(0xffffffff if name is None else known[name])
                part.unit_of.append(units[i] if units else i)
            self.send(list_chunk=part)

    def list(self, ids, files=None, units=None):
        """Offers a list and uploads it when the server wants it; returns the last ListReply."""
        reply = self.offer(ids)
        if reply.want == pb.LIST_SEND:
            self.upload(ids, files, units)
            reply = self.expect("list_reply").list_reply
        return reply

    def lease(self, names=False, timeout=None):
        """Asks for a lease; returns the Frame that answers: lease, parked, drained or error."""
        self.send(lease_request=pb.LeaseRequest(names=names))
        return self.expect("lease", "parked", "drained", "error", timeout=timeout, skip=("ack", "revoke"))

    def results(self, lease, tests, status=pb.STATUS_PASSED, texts=None, seq=None, call_us=1000):
        """Reports tests of a lease, numbered with the next number of this connection unless `seq` is given. `status`
        is one for all or a list; `texts` maps rows to failure output. Returns the number."""
        self.seq = self.seq + 1 if seq is None else seq
        rows, texts = len(tests), texts or {}
        wall = int(time.time() * 1e6)
        self.send(seq=self.seq, results=message(
            pb.Results, lease=lease, test=tests, status=status if isinstance(status, list) else [status] * rows,
            start_us=[wall] * rows, setup_us=[0] * rows, call_us=[call_us] * rows, teardown_us=[0] * rows,
            first=[False] * rows, text_of=sorted(texts), text=[texts[row] for row in sorted(texts)]))
        return self.seq

    def wait_ack(self, seq, timeout=None):
        """Waits until Results up to `seq` are acknowledged."""
        while self.expect("ack", timeout=timeout, skip=("revoke", "lease", "parked", "drained")).ack.seq < seq:
            pass
