"""A daemon that lacks what it needs: its database, descriptors, room on the disk. It says so, loses nothing that it has
acknowledged, takes nothing that it cannot keep, and goes on when there is enough again."""
import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time

import pytest
from shardlib import Daemon, Worker, attempts, eventually, make_suite, verdicts
from wire import Wire, message, pb


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, {"test_a.py": "def test_one():\n    pass\n"})


def test_tools_that_these_tests_need():
    assert all(shutil.which(tool) for tool in ("prlimit", "unshare", "nsenter"))


# ---- databases

def shardd_once(folder, **options):
    daemon = Daemon(folder, **options)
    daemon.start(ready=False)
    return daemon.process.wait(30), daemon.log()


def test_second_daemon_on_one_database(daemon, tmp_path):
    code, said = shardd_once(tmp_path, database=daemon.database)
    assert code == 16
    assert daemon.database in said and str(daemon.pid) in said, said
    assert daemon.answers()


def test_second_daemon_on_one_socket(daemon, tmp_path):
    code, said = shardd_once(tmp_path, listen=daemon.address)
    assert code == 16 and daemon.address in said and "another daemon" in said
    assert daemon.answers()


def test_no_database(tmp_path):
    path = tmp_path / "text.db"
    path.write_text("this is no database, whatever its name says\n" * 200)
    code, said = shardd_once(tmp_path, database=str(path))
    assert code == 16 and str(path) in said and "SQLite" in said


def test_torn_database(tmp_path, suite):
    """Bytes lost in the middle of the file are found and named; nothing is made up."""
    with Daemon(tmp_path) as daemon:
        assert Worker(daemon, suite).wait() == 0
        assert daemon.stop() == 0
        with open(daemon.database, "r+b") as file:
            file.truncate(8192)
        daemon.start(ready=False)
        assert daemon.process.wait(30) == 16
        assert daemon.database in daemon.log().splitlines()[-1]


def test_database_of_a_newer_release(tmp_path):
    with Daemon(tmp_path) as daemon:
        assert daemon.stop() == 0
        with contextlib.closing(sqlite3.connect(daemon.database)) as db:
            db.execute("PRAGMA user_version=9999")
        daemon.start(ready=False)
        assert daemon.process.wait(30) == 16
        assert daemon.database in daemon.log() and "9999" in daemon.log()


def test_database_of_another_program(tmp_path):
    path = tmp_path / "s.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE accounts (x)")
    before = path.read_bytes()
    code, said = shardd_once(tmp_path, database=str(path))
    assert code == 16 and str(path) in said and "another program" in said
    assert path.read_bytes() == before


def test_no_folder_for_the_database(tmp_path):
    code, said = shardd_once(tmp_path, database=str(tmp_path / "none" / "s.db"))
    assert code == 16 and str(tmp_path / "none") in said


def test_unreadable_token_file(tmp_path):
    code, said = shardd_once(tmp_path, token_file=str(tmp_path / "none"))
    assert code == 2 and str(tmp_path / "none") in said


# ---- no descriptors

def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptors(tmp_path, suite):
    """Out of descriptors the daemon waits without spinning, says so once, and goes on when there are some."""
    with Daemon(tmp_path, lease_ttl="60s", heartbeat="20s", hello_timeout="60s") as daemon:
        subprocess.run(["prlimit", "--pid", str(daemon.pid), "--nofile=48:48"], check=True)
        worker_suite = make_suite(tmp_path, {"test_a.py": "import os, time\ndef test_it():\n"
                                                          "    while not os.path.exists(os.environ['GO']):\n"
                                                          "        time.sleep(0.01)\n"}, name="held")
        go = tmp_path / "go"
        honest = Worker(daemon, worker_suite, env={"GO": str(go)})
        eventually(lambda: honest.ran(), what="the honest worker's test")
        crowd = []
        for _ in range(100):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(daemon.address[len("unix:"):])
            crowd.append(sock)
        eventually(lambda: "accept_rests" in daemon.log(), what="the daemon notices")
        before, began = cpu_seconds(daemon.pid), time.monotonic()
        go.touch()
        assert honest.wait() == 0, honest.output()
        while time.monotonic() - began < 1.5:  # the time over which its CPU is measured
            time.sleep(0.05)
        spent = (cpu_seconds(daemon.pid) - before) / (time.monotonic() - began)
        assert spent < 0.15, "it spins: %.0f %% of a CPU" % (100 * spent)
        log = daemon.log()
        assert log.count("accept_rests") == 1 + log.count("accept_resumes"), "said once each time"
        for sock in crowd:
            sock.close()
        after = Worker(daemon, suite, build="b2")
        assert after.wait() == 0, after.output()
        assert "accept_resumes" in daemon.log()


# ---- a full disk

@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB, in a mount namespace of its own that a sleeping process keeps. Needs root, or user namespaces; a
    machine that has neither cannot show this."""
    inner = tmp_path / "disk"
    inner.mkdir()
    script = 'mount -t tmpfs -o size=4m,mode=0777 none "$1" && echo up && exec sleep 600'
    flags = ["-m"] if os.geteuid() == 0 else ["-rm"]
    holder = subprocess.Popen(["unshare", *flags, "--propagation", "private", "sh", "-c", script, "sh", str(inner)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if holder.stdout.readline() != "up\n":
        why = holder.stderr.read()
        holder.wait()
        pytest.skip("NO TEST OF A FULL DISK: this machine lets us mount nothing: %s" % why.strip())
    yield Disk(holder.pid, inner)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    holder.stderr.close()


class Disk:
    def __init__(self, holder, inner):
        self.holder, self.inner = holder, inner

    def enter(self):
        """The words before a command that make it see the disk at `inner`."""
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        return ["nsenter", *user, "-m", "-t", str(self.holder), "--wd=/", "--"]

    def do(self, script):
        return subprocess.run([*self.enter(), "sh", "-c", script, "sh", str(self.inner)], check=False,
                              stderr=subprocess.DEVNULL).returncode

    def fill(self):
        """Takes all the room that is left, to the last page."""
        self.do('dd if=/dev/zero of="$1/filler" bs=4096 oflag=append conv=notrunc')

    def free(self):
        assert self.do('rm -f "$1/filler"') == 0


class DiskDaemon(Daemon):
    def __init__(self, disk, tmp_path, **options):
        super().__init__(tmp_path, database=str(disk.inner / "s.db"), ballast="0", **options)
        self.disk = disk

    def argv(self):
        return [*self.disk.enter(), *super().argv()]


TALKATIVE = {"test_a.py": """
    import os, time, pytest
    @pytest.mark.parametrize('i', range(6))
    def test_it(i):
        if i == 0:
            open(os.environ['STARTED'], 'w').close()
        while not os.path.exists(os.environ['GO']):
            time.sleep(0.01)
        print('x' * 50000)
        assert False
"""}


@pytest.fixture
def on_small_disk(small_disk, tmp_path):
    """A daemon on a disk that is full by the time the first result comes, and how to start a worker."""
    daemon = DiskDaemon(small_disk, tmp_path, lease_ttl="3s", heartbeat="500ms").start()
    suite, go, started = make_suite(tmp_path, TALKATIVE, name="talkative"), tmp_path / "go", tmp_path / "started"

    def begin(*args):
        worker = Worker(daemon, suite, args=args, env={"GO": str(go), "STARTED": str(started)})
        eventually(started.exists, what="the first test")
        small_disk.fill()
        go.touch()
        return worker
    return daemon, small_disk, begin


def test_full_disk_is_outlived(on_small_disk):
    """The daemon refuses what it cannot keep, the worker keeps it; with room again the build ends as if nothing was."""
    daemon, disk, begin = on_small_disk
    worker = begin()
    eventually(lambda: "the server's disk is full" in worker.output(), what="the worker hears of it")
    assert worker.output().count("disk is full") == 1, "said once"
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send(seq=1, query=pb.Query(kind=pb.QUERY_SERVER))
        assert b"full: results are refused" in list(wire.expect("rows").rows.cell)
    assert daemon.running() and worker.running()
    assert "store_full" in daemon.log()
    disk.free()
    assert worker.wait() == 1, worker.output()
    assert verdicts(daemon) == {"test_a.py::test_it[%d]" % i: "failed" for i in range(6)}
    assert re.search(r"store_full over=1", daemon.log())


def test_full_disk_for_too_long(on_small_disk):
    """The worker's patience ends: 16, and the results that nobody has are named."""
    daemon, _, begin = on_small_disk
    worker = begin("--server-timeout", "1s")
    assert worker.wait() == 16, worker.output()
    said = worker.output()
    count = re.search(r"its disk is full; ([1-6]) results? could not be handed over", said)
    assert count, said
    named = re.findall(r"not handed over: test_a\.py::test_it\[(\d)\]\n", said)
    kept = int(count[1])  # what found room in the log that was there already is not among them
    assert [int(index) for index in named] == list(range(6 - kept, 6)), said
    assert daemon.running()


def test_full_disk_on_the_wire(small_disk, tmp_path):
    """ERROR_DISK names the refused message; nothing behind it is taken before it: an Ack speaks for all before."""
    daemon = DiskDaemon(small_disk, tmp_path).start()
    ids = ["t%03d" % i for i in range(200)]
    with Wire(daemon.address) as wire:
        wire.hello()
        assert wire.list(ids).want == pb.LIST_OK
        lease, text = wire.lease().lease, {0: b"x" * 60000}
        small_disk.fill()
        stuck = 0
        while not stuck:  # what finds room in the log that is there already is acknowledged as ever
            sent = wire.results(lease.lease, [lease.test[wire.seq]], status=pb.STATUS_FAILED, texts=text)
            made = settled(wire, sent)
            if made is None:  # the disk was found full before it came: it was not taken, and has to come again
                small_disk.free()
                while not settled(wire, wire.results(lease.lease, [lease.test[sent - 1]], status=pb.STATUS_FAILED,
                                                     texts=text, seq=sent)):
                    time.sleep(0.02)
                small_disk.fill()
            stuck = sent if made is False else 0
        wire.results(lease.lease, [lease.test[stuck]])
        error = refusal(wire)
        assert (error.error.code, error.seq) == (pb.ERROR_DISK, stuck + 1)
        small_disk.free()
        while not settled(wire, stuck):
            time.sleep(0.02)
        wire.results(lease.lease, [lease.test[stuck + 1]])
        error = refusal(wire)
        assert (error.error.code, error.seq) == (pb.ERROR_DISK, stuck + 2), "the message before it comes first"
        for seq in (stuck + 1, stuck + 2):
            wire.results(lease.lease, [lease.test[seq - 1]], seq=seq)
        wire.wait_ack(stuck + 2)
    found = attempts(daemon, "1", env={"SHARD_PROJECT": "wire"})
    statuses = {name: rows[-1]["status"] for name, rows in found.items()}
    assert sorted(statuses.values(), key=str).count("failed") == stuck
    assert sorted(statuses.values(), key=str).count("passed") == 2


def test_questions_that_change_something_on_a_full_disk(small_disk, tmp_path):
    """Who mutes or imports hears that the disk is full, whether that was known or the change itself finds it out."""
    daemon = DiskDaemon(small_disk, tmp_path).start()
    change = dict(project="p", suite="s", reason="r" * 1000, who="w", life_ms=86400000)
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        known = ["t%d" % i for i in range(100)]
        wire.send(seq=1, query=message(pb.Query, kind=pb.QUERY_IMPORT, project="p", suite="s", import_test=known,
                                       import_file_of=[0xffffffff] * 100, import_us=[1] * 100))
        wire.expect("rows")
        small_disk.fill()
        for seq in range(1, 5000):  # until the room in the files that are there already is used up
            wire.send(seq=seq, query=message(pb.Query, kind=pb.QUERY_MUTE, test="t%d" % (seq % 100), **change))
            if wire.recv().WhichOneof("body") == "error":
                break
        for kind in (pb.QUERY_MUTE, pb.QUERY_UNMUTE):
            wire.send(seq=9000, query=message(pb.Query, kind=kind, test="t1", **change))
            assert b"disk is full" in wire.expect_error("ERROR_DISK", closes=False).text
        wire.send(seq=9001, query=message(pb.Query, kind=pb.QUERY_IMPORT, project="p", suite="s", import_test=["t"],
                                          import_file_of=[0xffffffff], import_us=[1]))
        wire.expect_error("ERROR_DISK", closes=False)
        small_disk.free()

        def takes():
            wire.send(seq=9002, query=message(pb.Query, kind=pb.QUERY_MUTE, test="t1", **change))
            return wire.recv().WhichOneof("body") == "rows"
        eventually(takes, what="the daemon takes changes again")


def refusal(wire):
    """The next Error that names a message: a heartbeat that an Ack overtook may have its answer yet to come."""
    while True:
        error = wire.expect("error", skip=("ack",))
        if error.seq:
            return error


def settled(wire, seq):
    """Asks by heartbeat until Results `seq` are acknowledged (True) or the disk is said to be full (False); None: they
    were refused."""
    while True:
        wire.send(heartbeat={})
        made = wire.expect("ack", "error")
        if made.WhichOneof("body") == "error":
            assert made.error.code == pb.ERROR_DISK and made.seq in (0, seq)
            if made.seq == seq:
                return None
            assert wire.expect("ack").ack.seq < seq
            return False
        if made.ack.seq >= seq:
            return True
