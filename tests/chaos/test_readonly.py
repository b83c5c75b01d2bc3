"""A medium that can be read alone: from the start, and from some write on while the daemon serves. As root; a mount is
made read-only only while nobody has a file open to write, so that what happens under a daemon is the shim's work."""
import errno
import subprocess

import pytest
import queuecheck
import shardlib
from proxy import Ledger, Proxy
from shardlib import codes, eventually, outputs
from storms import IDS, SHORT, SUITE, shim, workers_of


class Disk:
    """A file system of its own, mounted at `path`."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def mount(self, options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "shardd-test", str(self.path)],
                              stderr=subprocess.PIPE, check=False).returncode == 0

    def allow(self, what):
        subprocess.run(["mount", "-o", "remount," + what, str(self.path)], check=True)

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    try:
        mounted = made.mount("size=64m")
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("NOT TESTED: a read-only medium. This needs root, and leave to mount.")
    yield made
    shardlib.end_all()
    made.unmount()


def daemon_on(disk, tmp_path):
    return shardlib.Daemon(tmp_path, database=str(disk.path / "shardd.db"), **SHORT)


def refused(daemon):
    """It ends with 16, and says which file it is and what is wrong with it."""
    code = daemon.start(ready=False).process.wait()
    said = daemon.log().splitlines()[-1]
    return code == 16 and daemon.database in said and "Read-only file system" in said


@pytest.mark.parametrize("used", [False, True], ids=["empty", "with a database"])
def test_a_read_only_medium_is_refused(disk, tmp_path, used):
    daemon = daemon_on(disk, tmp_path)
    if used:
        with daemon:
            assert daemon.stop() == 0
    before = {path.name: path.read_bytes() for path in disk.path.iterdir()}
    disk.allow("ro")
    assert refused(daemon), daemon.log()
    assert {path.name: path.read_bytes() for path in disk.path.iterdir()} == before
    disk.allow("rw")
    with daemon:
        assert daemon.stop() == 0


@pytest.mark.parametrize("at", [10, 30, 50])
def test_a_medium_becomes_read_only(disk, tmp_path, at):
    """The daemon ends, and those after it are refused; workers wait, and go on when one can write again."""
    suite, ledger, daemon = shardlib.make_suite(tmp_path, SUITE), Ledger(), daemon_on(disk, tmp_path)
    with daemon:
        assert daemon.stop() == 0
    healthy = daemon.env
    daemon.env = dict(healthy, **shim("shardd", "pwrite64", at, times=1 << 30, number=errno.EROFS))
    daemon.start(ready=False)
    with Proxy("unix:%s/p" % tmp_path, daemon.address, hear=ledger) as proxy:
        workers = workers_of(daemon, suite, env={"SHARD_SERVER": proxy.address})
        eventually(lambda: not daemon.running(), what="the daemon cannot write")
        assert daemon.process.wait() == 16 and "cannot write" in daemon.log(), daemon.log()
        assert all(worker.running() for worker in workers), outputs(workers)
        daemon.env = healthy
        disk.allow("ro")
        assert refused(daemon) and refused(daemon), daemon.log()
        disk.allow("rw")
        daemon.start()
        assert codes(workers) == [0, 0], outputs(workers)
    assert daemon.stop() == 0
    found = queuecheck.check(daemon.database, ledger, shardlib.BUILD, dict.fromkeys(IDS, 1))
    assert found.lost == found.unexpected == 0 and found.acked >= len(IDS) - 2
