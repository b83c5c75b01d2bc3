"""The file of results that a worker has while its server is away: that it outlives the worker, that it is gone once the
server has what it holds, and that nothing of it counts twice."""
import contextlib
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading

import pytest
import shardlib
from keeplib import ALONE, cut_off, gated, kept, spool, submit
from shardlib import Daemon, Worker, attempts, eventually, make_suite, verdicts
from wire import pack, pb


class Behind:
    """A way to the daemon that keeps back the newest acknowledgement: what the worker hears is always one message
    behind, as with results that come faster than the line is."""

    def __init__(self, daemon, tmp_path):
        self.daemon, self.path = daemon, str(tmp_path / "behind")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            peer = self.listener.accept()[0]
            try:
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.daemon.address[len("unix:"):])
            except OSError:
                peer.close()
                continue
            threading.Thread(target=self.copy, args=(peer, server, False), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, peer, True), daemon=True).start()

    def copy(self, source, target, acks):
        stream = source.makefile("rb")
        try:
            while True:
                header = stream.read(4)
                if len(header) < 4:
                    break
                body = stream.read(struct.unpack(">I", header)[0])
                frame = pb.Frame.FromString(body)
                if acks and frame.ack.seq:
                    frame.ack.seq -= 1
                if acks and frame.welcome.acked:
                    frame.welcome.acked -= 1
                target.sendall(pack(frame) if acks else header + body)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_killed_while_the_server_is_away(daemon, tmp_path):
    """SIGKILL: what it had found out comes to the server all the same, and what it had not is run by the next job."""
    worker = cut_off(daemon, tmp_path)
    worker.kill()
    daemon.start()
    done = submit(daemon, tmp_path)
    assert done.returncode == 0 and "handed over 1 results" in done.stderr, done.stderr
    assert kept(tmp_path) == []
    assert verdicts(daemon)["test_a.py::test_slow"] == "passed"
    again = Worker(daemon, tmp_path / "suite", node="1")
    assert again.wait() == 0, again.output()
    assert again.ran() == ["test_a.py::test_last"]
    assert len(attempts(daemon)["test_a.py::test_slow"]) == 1
    assert daemon.shard("wait").returncode == 0


def test_killed_while_the_server_hangs(make_daemon, tmp_path):
    """It takes connections and answers nothing. The file comes between the attempts."""
    daemon = make_daemon(lease_ttl="1s", heartbeat="200ms")
    gate, suite = gated(tmp_path)
    worker = Worker(daemon, suite, env={"GATE": str(gate)}, args=["--spool", spool(tmp_path)])
    eventually(worker.ran, what="the test runs")
    daemon.process.signal(signal.SIGSTOP)
    eventually(lambda: "lost the server" in worker.output(), what="it notices")
    gate.write_text("")
    eventually(lambda: kept(tmp_path), what="there is a file")
    worker.kill()
    daemon.process.signal(signal.SIGCONT)
    assert submit(daemon, tmp_path).returncode == 0
    assert verdicts(daemon)["test_a.py::test_slow"] == "passed"


def test_back_in_time(daemon, tmp_path):
    """While it runs it hands over itself what is in its file, and leaves none."""
    worker = cut_off(daemon, tmp_path)
    path, = kept(tmp_path)
    worker.signal(signal.SIGSTOP)
    daemon.start()
    done = submit(daemon, tmp_path)
    assert done.returncode == 0 and "1 file is in use by a run or another submit" in done.stderr, done.stderr
    done = daemon.shard("submit", path)
    assert done.returncode == 16 and "in use by a run" in done.stderr, done.stderr
    worker.signal(signal.SIGCONT)
    eventually(lambda: not kept(tmp_path), what="the server has it")
    assert worker.wait() == 0, worker.output()
    assert kept(tmp_path) == [] and "are kept in" not in worker.output()
    assert set(verdicts(daemon).values()) == {"passed"}
    assert {len(rows) for rows in attempts(daemon).values()} == {1}


def half_done(away, tmp_path):
    """A job alone that has a file of its first test, and is in its second until a file `last` is there."""
    gate, suite = gated(tmp_path)
    gate.write_text("")
    worker = Worker(away, suite, args=ALONE + ["--total", "1", "--spool", spool(tmp_path)],
                    env={"GATE": str(gate), "LAST": str(tmp_path / "last")})
    eventually(lambda: kept(tmp_path), what="there is a file")
    return worker


def test_killed_alone(away, tmp_path):
    """A job without a server at all that is killed: what it had run is known afterwards, the rest is open."""
    worker = half_done(away, tmp_path)
    worker.kill()
    away.start()
    done = submit(away, tmp_path)
    assert done.returncode == 0, done.stderr
    assert verdicts(away)["test_a.py::test_slow"] == "passed"
    row, = away.json("builds")
    assert row["state"] != "complete", row


def test_no_room_while_away(daemon, tmp_path):
    """It says that it has them in memory only, once, goes on, and hands them over."""
    (tmp_path / "file").write_text("")
    gate, suite = gated(tmp_path)
    worker = Worker(daemon, suite, args=["--spool", tmp_path / "file" / "below"], env={"GATE": str(gate)})
    eventually(worker.ran, what="the test runs")
    daemon.kill()
    gate.write_text("")
    eventually(lambda: "the results are in memory only" in worker.output(), what="it says so")
    daemon.start()
    assert worker.wait() == 0, worker.output()
    assert worker.output().count("in memory only") == 1
    assert set(verdicts(daemon).values()) == {"passed"}


def test_gone_once_it_is_acknowledged(daemon, tmp_path):
    """The file goes when the server has what is in it, though newer results are under way and the spool is not empty:
    what is left behind by a worker that is killed then would be news of long ago."""
    suite = make_suite(tmp_path, {"test_a.py": '''
        import os, time

        def wait_for(path):
            end = time.monotonic() + 240
            while not os.path.exists(path):
                assert time.monotonic() < end
                time.sleep(0.01)

        def test_1():
            wait_for(os.environ["GATE"])

        def test_2():
            pass

        def test_3():
            wait_for(os.environ["LAST"])
    '''})
    gate, last, behind = tmp_path / "gate", tmp_path / "last", Behind(daemon, tmp_path)
    worker = Worker(daemon, suite, args=["--spool", spool(tmp_path)], env={
        "GATE": str(gate), "LAST": str(last), "SHARD_SERVER": "unix:" + behind.path})
    eventually(worker.ran, what="the first test runs")
    daemon.kill()
    gate.write_text("")
    eventually(lambda: kept(tmp_path), what="there is a file")
    daemon.start()
    eventually(lambda: not kept(tmp_path), what="the first result is acknowledged, the second is not")
    assert worker.running() and len(verdicts(daemon)) == 3
    worker.kill()
    done = submit(daemon, tmp_path)
    assert done.returncode == 0 and "no results wait" in done.stderr, done.stderr


@pytest.mark.parametrize("served", [True, False], ids=["of a worker", "of a job alone"])
def test_nothing_counts_twice(daemon, tmp_path, served):
    """A file may be handed over although the server has what it holds: its worker, or a submit, was killed before it
    could remove it. Here it holds a failure that is to be tried again, and a second one would settle that."""
    suite = make_suite(tmp_path, {"test_%s.py" % name: '''
        import os, time

        def test_it():
            end = time.monotonic() + 240
            while os.environ.get("GATE") and not os.path.exists(os.environ["GATE"]):
                assert time.monotonic() < end
                time.sleep(0.01)
            assert os.environ["SHARD_NODE"] == "1"
    ''' for name in "ab"})
    gate, other, copy = tmp_path / "gate", tmp_path / "other", tmp_path / "copy"
    flags = ["--retries", "1", "--spool", spool(tmp_path)]
    if served:
        worker = Worker(daemon, suite, args=flags, env={"GATE": str(gate)})
        eventually(worker.ran, what="it runs")
        live = Worker(daemon, suite, node="1", args=flags, env={"GATE": str(other)})
        eventually(live.ran, what="the other runs, too")
        daemon.kill()
        gate.write_text("")
        copy.write_bytes(eventually(lambda: kept(tmp_path), what="there is a file")[0].read_bytes())
        daemon.start()
        eventually(lambda: not kept(tmp_path), what="it has handed the result over itself")
        worker.kill()
    else:
        lonely = Worker(Daemon(tmp_path), suite, args=flags + ALONE + ["--total", "2"])
        assert lonely.wait() == 1, lonely.output()
        copy.write_bytes(kept(tmp_path)[0].read_bytes())
        live = Worker(daemon, suite, node="1", args=flags, env={"GATE": str(other)})
        eventually(live.ran, what="the other runs")
        assert submit(daemon, tmp_path).returncode == 0
    failed = [rows for rows in attempts(daemon).values() if rows and rows[0]["status"] == "failed"]
    assert len(failed) == 1 and len(failed[0]) == 1
    for restart in (False, True):
        if restart:
            daemon.restart()
        done = daemon.shard("submit", shutil.copy(str(copy), str(tmp_path / "again.spool")))
        assert done.returncode == 0 and "had 1 results" in done.stderr and "handed over 0" in done.stderr, done.stderr
    assert [rows for rows in attempts(daemon).values() if rows and rows[0]["status"] == "failed"] == failed
    other.write_text("")
    assert live.wait() == 0, live.output()
    assert daemon.shard("wait").returncode == 0
    assert sorted(len(rows) for rows in attempts(daemon).values()) == [1, 2]


# ---- who holds a file

FLOCK = '''
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

int flock(int fd, int how) {
#ifdef NO_LOCKS
  errno = ENOLCK;
  return -1;
#endif
  if ((how & LOCK_EX) && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
    errno = EBADF;
    return -1;
  }
  return (int)syscall(SYS_flock, fd, how);
}
'''


def preloaded(tmp_path, name, *flags):
    """Variables under which flock does as this library has it."""
    source, library = tmp_path / (name + ".c"), tmp_path / (name + ".so")
    source.write_text(FLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), *flags, str(source)], check=True)
    return {"LD_PRELOAD": str(library)}


def test_locks_of_nfs(daemon, tmp_path):
    """There only who may write can lock a file against all others."""
    worker, env = cut_off(daemon, tmp_path), preloaded(tmp_path, "nfs")
    path, = kept(tmp_path)
    worker.signal(signal.SIGSTOP)
    daemon.start()
    done = daemon.shard("submit", "--spool", spool(tmp_path), env=env)
    assert done.returncode == 0 and "1 file is in use" in done.stderr, done.stderr
    done = daemon.shard("submit", path, env=env)
    assert done.returncode == 16 and "in use by a run" in done.stderr, done.stderr
    worker.kill()
    done = daemon.shard("submit", "--spool", spool(tmp_path), env=env)
    assert done.returncode == 0 and "handed over 1 results" in done.stderr, done.stderr
    assert kept(tmp_path) == []


def test_no_locks(daemon, tmp_path):
    """What cannot be locked is left; a copy that can is not."""
    worker, env = cut_off(daemon, tmp_path), preloaded(tmp_path, "none", "-DNO_LOCKS")
    path, = kept(tmp_path)
    worker.kill()
    daemon.start()
    for args in (["--spool", spool(tmp_path)], [path]):
        done = daemon.shard("submit", *args, env=env)
        assert done.returncode == 16 and "nothing can be locked there" in done.stderr, done.stderr
    assert kept(tmp_path) == [path]
    shutil.copy(str(path), str(tmp_path / "copy"))
    assert daemon.shard("submit", tmp_path / "copy").returncode == 0


def submitting(daemon, tmp_path):
    """(the file of a killed run, a submit that has it and waits for the daemon, which is stopped)."""
    cut_off(daemon, tmp_path).kill()
    path, = kept(tmp_path)
    daemon.start()
    daemon.process.signal(signal.SIGSTOP)
    process = shardlib.Process([shardlib.SHARD, "submit", "--spool", str(spool(tmp_path))], tmp_path / "submit",
                               shardlib.clean_env(SHARD_SERVER=daemon.address))
    fds = "/proc/%d/fd/" % process.pid

    def connects():
        with contextlib.suppress(OSError):
            return any(os.readlink(fds + fd).startswith("socket:") for fd in os.listdir(fds))
    eventually(connects, what="it has read the file")
    return path, process


def test_two_submits(daemon, tmp_path):
    """The second says that there is something, and that it is in hand."""
    path, first = submitting(daemon, tmp_path)
    done = submit(daemon, tmp_path)
    assert done.returncode == 0 and "1 file is in use by a run or another submit" in done.stderr, done.stderr
    done = daemon.shard("submit", path)
    assert done.returncode == 16 and "by another submit" in done.stderr, done.stderr
    daemon.process.signal(signal.SIGCONT)
    assert first.wait() == 0, first.output()
    assert kept(tmp_path) == []


def test_a_newer_file_stays(daemon, tmp_path):
    """Where locks do not help, a run may put a newer file in the place of the one that is being handed over."""
    path, process = submitting(daemon, tmp_path)
    newer = path.with_name("newer")
    newer.write_bytes(path.read_bytes())
    newer.rename(path)
    daemon.process.signal(signal.SIGCONT)
    assert process.wait() == 0, process.output()
    assert kept(tmp_path) == [path]


# ---- the folder

def test_rests_of_the_killed(daemon, tmp_path):
    """A run may be killed while it writes. What it leaves is removed when it is old and its process gone."""
    spool(tmp_path).mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = ["a.spool.tmp-%d" % gone.pid, "b.spool.tmp-%d" % os.getpid(), "c.spool.tmp-%d" % gone.pid,
             "d.spool.tmp-1x", "e.tmp-%d" % gone.pid]
    for name in names:
        (spool(tmp_path) / name).write_text("")
        if name[0] != "c":
            os.utime(str(spool(tmp_path) / name), (1, 1))
    done = submit(daemon, tmp_path)
    assert done.returncode == 0 and "no results wait" in done.stderr, done.stderr
    assert sorted(path.name for path in spool(tmp_path).iterdir()) == names[1:]


def test_folder_removed_meanwhile(away, tmp_path):
    """It is made again for the next file."""
    worker = half_done(away, tmp_path)
    shutil.rmtree(str(spool(tmp_path)))
    (tmp_path / "last").write_text("")
    assert worker.wait() == 0, worker.output()
    assert "2 results are kept" in worker.output() and len(kept(tmp_path)) == 1


def test_folder_replaced_meanwhile(away, tmp_path):
    """It cannot be made again: what was written is not said to be there."""
    worker = half_done(away, tmp_path)
    shutil.rmtree(str(spool(tmp_path)))
    spool(tmp_path).write_text("")
    (tmp_path / "last").write_text("")
    assert worker.wait() == 0, worker.output()
    assert "the results are lost" in worker.output() and "are kept" not in worker.output()


# ---- errors outside of tests

def ends_alone(away, tmp_path, status=0):
    """A job alone that has run all of its tests, which stands in a file, and has not ended: its session's end waits for
    a file, then makes this the status of pytest."""
    gate, suite = tmp_path / "gate", make_suite(tmp_path, {"test_a.py": "def test_it(): pass\n", "conftest.py": '''
        import os, time

        def pytest_sessionfinish(session):
            end = time.monotonic() + 240
            while os.environ.get("GATE") and not os.path.exists(os.environ["GATE"]):
                assert time.monotonic() < end
                time.sleep(0.01)
            session.exitstatus = %d
    ''' % status})
    worker = Worker(away, suite, args=ALONE + ["--total", "1", "--spool", spool(tmp_path)], env={"GATE": str(gate)})
    return worker, gate, eventually(lambda: kept(tmp_path), what="there is a file")[0]


def test_killed_at_its_end(away, tmp_path):
    """All tests have passed, and nobody knows how the rest went: not green until the job was run again."""
    worker = ends_alone(away, tmp_path)[0]
    worker.kill()
    away.start()
    done = submit(away, tmp_path)
    assert done.returncode == 0, done.stderr
    assert verdicts(away) == {"test_a.py::test_it": "passed"}
    done = away.shard("wait")
    assert done.returncode == 1 and "an error outside of any test" in done.stdout + done.stderr, done
    again = Worker(away, tmp_path / "suite", args=["--retried", "yes", "--attempt", "2"])
    assert again.wait() == 0, again.output()
    assert away.shard("wait").returncode == 0


def test_late_error_and_no_room_beside(away, tmp_path):
    """The file can be written only once the older one is out of the way. That one does not know of the error."""
    worker, gate, path = ends_alone(away, tmp_path, 1)
    path.with_name("%s.tmp-%d" % (path.name, worker.pid)).write_text("in the way")
    gate.write_text("")
    assert worker.wait() == 1, worker.output()
    assert "1 results are kept" in worker.output()
    path, = kept(tmp_path)
    assert b"no failed test explains" in path.read_bytes()
    away.start()
    assert submit(away, tmp_path).returncode == 0
    assert away.shard("wait").returncode == 1


def test_late_error_and_no_room(away, tmp_path, monkeypatch):
    """Not at all: then no file is better than one that does not know of the error."""
    wrapper = tmp_path / "shard"
    wrapper.write_text("#!/bin/sh\ntrap '' XFSZ\nexec %s \"$@\"\n" % shardlib.SHARD)
    wrapper.chmod(0o755)
    with monkeypatch.context() as context:
        context.setattr(shardlib, "SHARD", str(wrapper))
        worker, gate, path = ends_alone(away, tmp_path, 1)
    size = path.stat().st_size // 2  # also for what it says
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size, size))
    gate.write_text("")
    assert worker.wait() == 1, worker.output()
    assert kept(tmp_path) == [] and list(spool(tmp_path).iterdir()) == []
