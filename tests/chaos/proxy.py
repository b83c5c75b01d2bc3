"""A proxy between workers and the daemon: it hears what both say, and it spoils connections.

    ledger = Ledger()
    with Proxy("unix:/tmp/x/p", daemon.address, hear=ledger, faults=Faults(seed=7, cut=0.01)) as proxy:
        ...

hear(connection, direction, frame) comes for each whole frame before its bytes go on: what the daemon has said stands in
the log even when nobody lives to read it. Faults are drawn for each piece of bytes, so that cuts and delays fall inside
of frames, too.
"""
import asyncio
import collections
import random
import socket
import struct
import threading
import time

from wire import FRAME_MAX_BYTES, pb

TO_SERVER, TO_WORKER = "to server", "to worker"
PIECE_BYTES = 65536


class Faults:
    """What happens to a piece of bytes, each with a probability: it waits (up to delay_s), trickles byte by byte, is
    held for stall_s, ends the connection in its middle by a reset or an orderly end, or ends one direction alone. What
    ends something is likelier by RESULTS_WEIGHT where results pass: it is them that may get lost. What has not happened
    yet comes with every FIRST_EACHth piece, so that a short run has all of it."""
    KINDS = ("delay", "dribble", "stall", "cut", "reset", "half")
    ENDS, RESULTS_WEIGHT, FIRST_EACH = ("cut", "reset", "half"), 10, 25

    def __init__(self, seed=0, delay_s=0.03, stall_s=1.0, **odds):
        self.rng, self.delay_s, self.stall_s = random.Random(seed), delay_s, stall_s
        assert not set(odds) - set(self.KINDS), odds
        self.odds = odds
        self.pieces, self.done = 0, collections.Counter()
        self.on = True

    def draw(self, results):
        """The fault of the next piece, or None. results: it carries some."""
        if not self.on:
            return None
        self.pieces += 1
        missing = [kind for kind in self.odds if not self.done[kind]]
        first = missing and self.pieces % self.FIRST_EACH == 0
        drawn = missing[0] if first else next(filter(lambda kind: self._comes(kind, results), self.odds), None)
        self.done.update([drawn] if drawn else ())
        return drawn

    def _comes(self, kind, results):
        weight = self.RESULTS_WEIGHT if results and kind in self.ENDS else 1
        return self.rng.random() < self.odds[kind] * weight


class Frames:
    """Cuts a stream into frames."""

    def __init__(self):
        self.held = b""

    def feed(self, piece):
        self.held += piece
        while len(self.held) >= 4:
            size = struct.unpack(">I", self.held[:4])[0]
            assert 0 < size <= FRAME_MAX_BYTES, "a frame of %d bytes" % size
            if len(self.held) < 4 + size:
                return
            body, self.held = self.held[4:4 + size], self.held[4 + size:]
            yield pb.Frame.FromString(body)


class Broken(Exception):
    """The connection is to end: reset says how."""

    def __init__(self, reset):
        super().__init__()
        self.reset = reset


def place(address):
    """Arguments of asyncio for unix:/path or tcp://host:port."""
    if address.startswith("unix:"):
        return {"path": address[len("unix:"):]}
    host, _, port = address[len("tcp://"):].rpartition(":")
    return {"host": host, "port": int(port)}


class Proxy:
    """Listens at `address` until it is left; a connection is made to `server` for each that comes."""

    def __init__(self, address, server, hear=None, faults=None):
        self.address, self.server, self.hear, self.faults = address, server, hear, faults or Faults()
        self.error, self.count, self.silent, self.shut, self.writers = None, 0, 0, False, set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        ready = threading.Event()
        self.loop.call_soon(lambda: asyncio.ensure_future(self._listen(ready)))
        self.thread.start()
        assert ready.wait(10), "the proxy does not listen"
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        if self.error:
            raise self.error

    def drop_all(self):
        """Resets every connection there is."""
        self.loop.call_soon_threadsafe(lambda: [self._end(writer, True) for writer in list(self.writers)])

    def fall_silent(self):
        """Nothing more comes through the connections that there are, and neither end hears that the other closes; who
        connects again is served."""
        self.silent = self.count

    def close(self):
        """Resets every connection, and those that come, until open()."""
        self.shut = True
        self.drop_all()

    def open(self):
        self.shut = False

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        for writer in list(self.writers):
            writer.transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))

    async def _listen(self, ready):
        where = place(self.address)
        if "path" in where:
            await asyncio.start_unix_server(self._serve, limit=PIECE_BYTES, **where)
        else:
            await asyncio.start_server(self._serve, limit=PIECE_BYTES, **where)
        ready.set()

    async def _serve(self, reader, writer):
        self.count += 1
        where, number = place(self.server), self.count
        try:
            if self.shut:
                raise ConnectionRefusedError
            connect = asyncio.open_unix_connection if "path" in where else asyncio.open_connection
            back_reader, back_writer = await connect(limit=PIECE_BYTES, **where)
        except OSError:
            self._end(writer, True)
            return
        self.writers |= {writer, back_writer}
        pumps = [asyncio.ensure_future(self._pump(number, TO_SERVER, reader, back_writer)),
                 asyncio.ensure_future(self._pump(number, TO_WORKER, back_reader, writer))]
        reset = False
        for pump in asyncio.as_completed(pumps):
            try:
                await pump
            except Broken as broken:
                reset = broken.reset
                break
            except (OSError, asyncio.CancelledError):
                break
            except Exception as error:  # a frame that is none, or a hearer that objects: the test fails by it
                self.error = self.error or error
                break
        for pump in pumps:
            pump.cancel()
        for end in (writer, back_writer):
            self._end(end, reset)
            self.writers.discard(end)

    @staticmethod
    def _end(writer, reset):
        sock = writer.get_extra_info("socket")
        if reset and sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reset:
            writer.transport.abort()
        else:
            writer.close()

    async def _pump(self, number, direction, reader, writer):
        frames = Frames()
        while True:
            piece = await reader.read(PIECE_BYTES)
            if number <= self.silent:
                await self._swallow(reader)
            if not piece:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            results = False
            for frame in frames.feed(piece) if self.hear else ():
                self.hear(number, direction, frame)
                results = results or frame.HasField("results")
            if not await self._pass_on(piece, writer, self.faults.draw(results)):
                return

    @staticmethod
    async def _swallow(reader):
        while await reader.read(PIECE_BYTES):
            pass
        await asyncio.Event().wait()  # until the proxy ends

    async def _pass_on(self, piece, writer, fault):
        """False: this direction is at its end, the other goes on."""
        faults = self.faults
        if fault == "delay":
            await asyncio.sleep(faults.rng.random() * faults.delay_s)
        elif fault == "stall":
            await asyncio.sleep(faults.stall_s)
        elif fault == "dribble":
            for i in range(min(len(piece), 200)):
                writer.write(piece[i:i + 1])
                await writer.drain()
                await asyncio.sleep(0)
            piece = piece[200:]
        elif fault in ("cut", "reset"):
            writer.write(piece[:faults.rng.randrange(len(piece) + 1)])
            raise Broken(fault == "reset")
        writer.write(piece)
        await writer.drain()
        if fault == "half":
            writer.write_eof()
        return fault != "half"


class Message:
    """Results as a worker sent them: rows of (test number, status, start in ms), when that was heard first, and when
    the first Ack of them was; wall clock, which the database has too."""

    def __init__(self, results):
        self.rows = [(test, status, start // 1000) for test, status, start in zip(
            results.test, results.status, results.start_us)]
        self.sent_s, self.acked_s = time.time(), None


class Ledger:
    """What was said about results: sent by workers, acknowledged by the daemon, and when. A hearer for Proxy."""

    def __init__(self):
        self.lock, self.heard = threading.Lock(), threading.Event()  # heard: set by each Ack of something new
        self.hello = {}  # connection: (build, node)
        self.who = {}  # connection: (build, worker)
        self.sent = collections.defaultdict(dict)  # (build, worker): {seq: Message}
        self.acked = collections.Counter()  # (build, worker): highest seq

    def __call__(self, connection, direction, frame):
        with self.lock:
            getattr(self, "_" + frame.WhichOneof("body"), lambda *_: None)(connection, frame)

    def _hello(self, connection, frame):
        self.hello[connection] = frame.hello.build.decode()

    def _welcome(self, connection, frame):
        self.who[connection] = (self.hello[connection], frame.welcome.worker)
        self._acknowledged(self.who[connection], frame.welcome.acked)

    def _results(self, connection, frame):
        message = Message(frame.results)
        before = self.sent[self.who[connection]].setdefault(frame.seq, message)
        assert before.rows == message.rows, "message %d was sent again with other results" % frame.seq

    def _ack(self, connection, frame):
        key = self.who[connection]
        known = frame.ack.seq == 0 or frame.ack.seq in self.sent[key]  # 0: a heartbeat's answer to who sent nothing
        assert known, "message %d was acknowledged and never sent" % frame.ack.seq
        self._acknowledged(key, frame.ack.seq)

    def _acknowledged(self, key, seq):
        for number in range(self.acked[key] + 1, seq + 1):
            if number in self.sent[key]:
                self.sent[key][number].acked_s = time.time()
                self.heard.set()
        self.acked[key] = max(self.acked[key], seq)

    def results(self, build):
        """{(worker, test number, status, start in ms): (when it was sent, when it was acknowledged or None)} of a
        build: each attempt once, as it was heard first."""
        found = {}
        with self.lock:
            for (name, worker), messages in self.sent.items():
                for message in messages.values() if name == build else ():
                    for row in message.rows:
                        found.setdefault((worker, *row), (message.sent_s, message.acked_s))
        return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
