"""A stand-in for the shard worker at the other end of the adapter's socket: it starts a real pytest with the plugin,
hands it the tests in given batches, and keeps all that came back. It answers by rule, never by the clock, so that each
order of need, run, park and finish can be had at will. Used by the tests beside it and by overhead.py."""
import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time

FILES = ("shard_pytest.py", "shard_pytest_end.py", "shard_pytest_lib.py", "shard_pytest_lazy.py",
         "shard_pytest_options.py")
HERE = os.path.dirname(os.path.abspath(__file__))
ADAPTERS = os.path.join(HERE, os.pardir, os.pardir, os.pardir, "worker", "adapters")
PYTHON = os.environ.get("SHARD_TEST_PYTHON", "/usr/bin/python3")
LIMIT_S = 120  # for a hanging session to be an error, never waited for otherwise


def clean_env(**more):
    """The environment without what an outer pytest or worker left in it."""
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("PYTEST_", "SHARD_", "COVERAGE", "COV_")) and key != "PYTHONPATH"}
    env.update(PYTHONHASHSEED="0", COLUMNS="80", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    env.update(more)
    return {key: value for key, value in env.items() if value is not None}


def has_plugin(name):
    """Whether the tested Python has a pytest plugin's module."""
    return subprocess.run([PYTHON, "-c", "import " + name], env=clean_env(), stderr=subprocess.DEVNULL).returncode == 0


def stable(output):
    """The lines of pytest's output that two runs have alike."""
    return [re.sub(r" in \d+\.\d+s.*|\d{8}_\d{6}", " in", line).strip("= ") for line in output.splitlines()
            if " object at 0x" not in line and not line.startswith(("rootdir:", "plugins:"))]


class Answer:
    """How the worker answers 'need'. batches: None (all ids in one), a number, or a list of lists of ids.
    when: "now"; "park": say so first, and answer when the test's result is there; "late": only the latter."""

    def __init__(self, batches=None, when="now", when_over="now"):
        self.batches, self.when, self.when_over = batches, when, when_over

    def listed(self, ids):
        size = self.batches
        if size is None:
            size = len(ids) or 1
        if isinstance(size, int):
            self.left = [ids[i:i + size] for i in range(0, len(ids), size)]
        else:
            self.left = [list(batch) for batch in size]

    def need(self, worker):
        when = self.when if self.left else self.when_over
        if when == "park":
            worker.send({"t": "park"})
        if when == "now" or not worker.running:
            self.answer(worker)

    def result(self, worker):
        if worker.needed and not worker.running:
            self.answer(worker)

    def answer(self, worker):
        worker.needed = False
        if self.left:
            worker.run(self.left.pop(0))
        else:
            worker.send({"t": "finish"})


class FakeWorker:
    """One session: start() it, then everything is in its attributes. With `known`, the list of another session as
    {id: (file, unit)}, it imports files as their tests come; an empty one makes it collect after all."""

    def __init__(self, folder, answer, known=None):
        self.folder, self.answer, self.known = str(folder), answer, known
        self.opened = {}  # file: ids found in it, in the order in which files were opened
        self.opening = None
        self.messages, self.ids, self.files, self.units = [], [], [], []
        self.results, self.statuses, self.texts = [], {}, {}
        self.started, self.late, self.errors = [], [], []
        self.hello = self.listed = self.bye = self.rc = None
        self.running = set()  # given, without a result
        self.needed = self.ended = False
        self.output = self.refused = ""
        self.conn = None

    def start(self, args, env=None, program=None):
        self.temp = tempfile.mkdtemp(prefix="shard-adapter-")
        try:
            self.launch(args, clean_env(**(env or {})), program)
        finally:
            shutil.rmtree(self.temp)
        return self

    def launch(self, args, env, program):
        os.mkdir(os.path.join(self.temp, "plugin"))
        for name in FILES:
            target = os.path.join(self.temp, "plugin", name)
            with open(os.path.join(ADAPTERS, name)) as source, open(target, "w") as copy:
                copy.write(self.adapted(source.read()) if name == "shard_pytest.py" else source.read())
        path = os.path.join(self.temp, "r.sock")
        earlier = env.get("PYTHONPATH")
        env["PYTHONPATH"] = os.path.join(self.temp, "plugin") + (os.pathsep + earlier if earlier else "")
        env["PYTEST_PLUGINS"] = "shard_pytest" + ("," + env["PYTEST_PLUGINS"] if "PYTEST_PLUGINS" in env else "")
        env.update(SHARD_RUNNER_SOCK=path, SHARD_RUNNER_COLLECT="full" if self.known is None else "lazy")
        with socket.socket(socket.AF_UNIX) as listener, open(os.path.join(self.temp, "out"), "w+b") as out:
            listener.bind(path)
            listener.listen(1)
            command = program or [PYTHON, "-m", "pytest"]
            self.process = subprocess.Popen(command + list(args), cwd=self.folder, env=env, stdout=out,
                                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            try:
                self.converse(listener)
                self.rc = self.process.wait(LIMIT_S)
            finally:
                self.process.kill()
                self.process.wait()
                if self.conn:
                    self.conn.close()
            note = os.path.join(self.temp, "plugin", "refused")
            if os.path.exists(note):
                with open(note, encoding="utf-8") as text:
                    self.refused = text.read()
            out.seek(0)
            self.output = out.read().decode("utf-8", "replace")

    def adapted(self, text):
        """Where this end always answers, the plugin waits for it however slow the machine is; where it is late only
        when all is over, for long, since that is once."""
        assert text.count("GRACE_S = 0.05") == 1
        if self.answer.when == "late":
            return text
        return text.replace("GRACE_S = 0.05", "GRACE_S = %d" % (5 if self.answer.when_over == "late" else LIMIT_S))

    def converse(self, listener):
        pidfd = os.pidfd_open(self.process.pid)
        try:
            self.end = time.monotonic() + LIMIT_S
            if self.await_one(listener, pidfd):
                self.conn = listener.accept()[0]
                self.read_all(pidfd)
        finally:
            os.close(pidfd)

    def await_one(self, sock, pidfd):
        """True when there is something to read; False when the process ended without."""
        ready = select.select([sock, pidfd], [], [], max(0, self.end - time.monotonic()))[0]
        assert ready, "the session hangs; its last messages: %r" % self.messages[-5:]
        return sock in ready

    def read_all(self, pidfd):
        rest = b""
        while self.conn and self.await_one(self.conn, pidfd):
            try:
                data = self.conn.recv(1 << 20)
            except ConnectionResetError:  # it closed with something of ours unread
                data = b""
            if not data:
                return
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                assert len(line) <= 1 << 20
                self.on_message(json.loads(line.decode("utf-8")))

    def on_message(self, message):
        self.messages.append(message)
        getattr(self, "on_" + message["t"])(message)

    def on_hello(self, message):
        self.hello = message

    def on_tests(self, message):
        self.ids += message["ids"]
        self.files += message["files"]
        self.units += message["units"]

    def on_listed(self, message):
        self.listed = message
        if not message.get("lazy"):
            self.answer.listed(self.ids)
        elif self.known:
            self.ids = list(self.known)
            self.files, self.units = map(list, zip(*self.known.values()))
            self.answer.listed(self.ids)

    def on_open(self, message):
        assert not self.opening and message["file"] not in self.opened
        self.opening = message["file"]

    def on_opened(self, message):
        self.opened.setdefault(message["file"], []).extend(message["ids"])
        if not message["more"]:
            self.opening = None

    def on_need(self, message):
        self.needed = True
        if self.listed.get("lazy") and not self.known:
            self.send({"t": "collect"})
            return
        self.answer.need(self)

    def on_start(self, message):
        self.started.append(message["id"])

    def on_result(self, message):
        self.results.append(message)
        self.statuses[message["id"]] = message["status"]
        self.texts[message["id"]] = message.get("text", "")
        self.running.discard(message["id"])
        self.answer.result(self)

    def on_late(self, message):
        self.late.append(message["text"])

    def on_error(self, message):
        self.errors.append(message["text"])

    def on_bye(self, message):
        self.bye = message

    def on_end(self, message):
        assert self.bye and not self.ended
        self.ended = True

    def run(self, ids):
        self.running.update(ids)
        message = {"t": "run", "ids": ids}
        if self.listed.get("lazy"):
            message["files"] = [self.known.get(name, (None,))[0] for name in ids]
        self.send(message)

    def send(self, message):
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def send_bytes(self, data):
        if not self.conn:
            return  # hung up, with messages still read
        try:
            self.conn.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it ended meanwhile (-x)

    def hang_up(self):
        self.conn.close()
        self.conn = None

    def kinds(self):
        return [message["t"] for message in self.messages]
