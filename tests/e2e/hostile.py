"""A server that means harm: between a client and a real daemon it puts commands for terminals, and marks that turn the
direction of text, into everything that the daemon says. For test_hostile_server.py."""
import contextlib
import re
import socket
import struct
import threading

from wire import kind, pack, pb

# Title and colour of a terminal, its 8-bit forms (as UTF-8, and as bytes that are none), backspaces, a carriage return,
# bidirectional overrides and isolates, a forged command of a CI.
EVIL = ("\x1b]0;pwned\x07\x1b[2J\x9b31m\x08\x08\r\x7f\u202eesrever\u2066\u200b\u061c##[error]forged".encode() +
        b"\x9b2J\x85\xff")
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def commands_in(output):
    """What of the output (bytes) a terminal would act on; CR LF ends a line of CSV."""
    text = output.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    raw = {"\\x%02x" % (ord(c) - 0xdc00) for c in text if 0xdc80 <= ord(c) <= 0xdc9f}
    return sorted({repr(c) for c in COMMANDS.findall(text)} | raw)


class Hostile:
    """Listens at .address; numbers: what every number becomes, or None."""

    def __init__(self, daemon, folder, numbers=None):
        self.daemon, self.numbers = daemon, numbers
        self.address = "unix:%s/hostile" % folder
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.address[len("unix:"):])
        self.listener.listen(16)
        self.open = [self.listener]
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        for one in self.open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, server = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
                server.connect(self.daemon.address[len("unix:"):])
                self.open += [client, server]
                threading.Thread(target=self.copy, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self.copy, args=(server, client, True), daemon=True).start()

    def copy(self, source, target, answers):
        stream = source.makefile("rb")
        with contextlib.suppress(OSError):
            while True:
                header = stream.read(4)
                if len(header) < 4:
                    break
                body = stream.read(struct.unpack(">I", header)[0])
                target.sendall(pack(self.spoil(pb.Frame.FromString(body))) if answers else header + body)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def spoil(self, frame):
        name = kind(frame)
        message = getattr(frame, name)
        if name == "rows":
            self.spoil_rows(message)
        elif name == "goodbye":
            message.why = b"why " + EVIL
            message.own.append(b"own " + EVIL)
        elif name == "error":
            message.text = b"error " + EVIL
        elif name == "list_reply":
            message.note.append(b"note " + EVIL)
            if message.want == pb.LIST_MISMATCH:
                message.first = b"first " + EVIL
                message.missing.append(b"missing " + EVIL)
                message.extra.append(b"extra " + EVIL)
        elif name == "welcome":
            message.server = b"server " + EVIL
        return frame

    def spoil_rows(self, rows):
        columns = len(rows.column)
        for i, cell in enumerate(rows.cell):
            text = rows.type[i % columns] == pb.COLUMN_TEXT
            if text and rows.column[i % columns] not in (b"key", b"state", b"status", b"bar"):
                rows.cell[i] = cell + EVIL
            elif text and rows.column[i % columns] == b"bar":
                rows.cell[i] = cell + b"8" + EVIL
            elif not text and self.numbers is not None and cell:
                rows.cell[i] = b"%d" % self.numbers
