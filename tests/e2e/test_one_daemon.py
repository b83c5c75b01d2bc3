"""One daemon for one database, by whatever name a second one comes: it is refused, and told who has it open."""
import os
import pathlib
import sqlite3
import subprocess

import pytest
from shardlib import Daemon
from wire import Wire, pb


def another(daemon, tmp_path, database, cwd=None):
    """What a second daemon on `database` says; it must end with 16."""
    second = Daemon(tmp_path, database=str(database))
    done = subprocess.run(second.argv(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, cwd=cwd,
                          env=second.env, universal_newlines=True)
    assert done.returncode == 16, done.stdout
    assert daemon.running(), daemon.log()
    return done.stdout


def by_symlink(path, tmp_path):
    os.symlink(path, tmp_path / "link.db")
    return tmp_path / "link.db"


def by_chain_of_symlinks(path, tmp_path):
    os.symlink(path.parent, tmp_path / "folder")
    os.symlink("folder/" + path.name, tmp_path / "link.db")
    return tmp_path / "link.db"


def by_hard_link(path, tmp_path):
    os.link(path, tmp_path / "hard.db")
    return tmp_path / "hard.db"


def by_hard_link_beside(path, tmp_path):
    os.link(path, path.parent / "hard.db")
    return path.parent / "hard.db"


def by_dots(path, tmp_path):
    return path.parent / ".." / path.parent.name / path.name


@pytest.mark.parametrize("name", [by_symlink, by_chain_of_symlinks, by_hard_link, by_hard_link_beside, by_dots])
def test_by_another_name(daemon, tmp_path, name):
    path = pathlib.Path(daemon.database)
    said = another(daemon, tmp_path, name(path, tmp_path))
    assert "another shardd (pid %d) has this database open" % daemon.pid in said, said


def test_by_a_relative_path(daemon, tmp_path):
    path = pathlib.Path(daemon.database)
    said = another(daemon, tmp_path, os.path.relpath(path, tmp_path), cwd=str(tmp_path))
    assert "another shardd (pid %d) has this database open" % daemon.pid in said, said


def test_by_a_bind_mount(daemon, tmp_path):
    """The file alone is mounted elsewhere: neither its name nor its folder is the same."""
    (tmp_path / "bound").mkdir()
    target = tmp_path / "bound" / "x.db"
    target.touch()
    script = 'mount --bind "$1" "$2" || exit 77; shift 2; exec "$@"'
    flags = ["-m"] if os.geteuid() == 0 else ["-rm"]
    second = Daemon(tmp_path, database=str(target))
    done = subprocess.run(["unshare", *flags, "--propagation", "private", "sh", "-c", script, "sh", daemon.database,
                           str(target), *second.argv()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                          env=second.env, universal_newlines=True)
    if done.returncode in (1, 77):
        pytest.skip("NO TEST OF A BIND MOUNT: this machine lets us mount nothing: %s" % done.stdout.strip())
    assert done.returncode == 16 and "another shardd (pid" in done.stdout, done.stdout


def test_a_link_made_first(tmp_path):
    """The first daemon came by the link, the second comes by the name of the file."""
    path = tmp_path / "real.db"
    os.symlink(path, tmp_path / "link.db")
    first = Daemon(tmp_path, database=str(tmp_path / "link.db")).start()
    said = another(first, tmp_path, path)
    assert "another shardd (pid %d) has this database open" % first.pid in said, said


def test_the_refused_one_leaves_the_first_its_locks(daemon, tmp_path):
    """What the second one does on its way disturbs nothing: the first goes on writing, and the file is whole."""
    another(daemon, tmp_path, by_hard_link(pathlib.Path(daemon.database), tmp_path))
    with Wire(daemon.address) as wire:
        wire.hello()
        assert wire.list(["t"]).want == pb.LIST_OK
        wire.wait_ack(wire.results(wire.lease().lease.lease, [0]))
    assert daemon.stop() == 0
    with sqlite3.connect(daemon.database) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM result").fetchone() == (1,)


def test_a_killed_daemons_log_is_not_lost(daemon, tmp_path):
    """Acknowledged results stand in a log beside the name that was used: by another name it would not be seen."""
    hard = by_hard_link(pathlib.Path(daemon.database), tmp_path)
    with Wire(daemon.address) as wire:
        wire.hello()
        assert wire.list(["t"]).want == pb.LIST_OK
        wire.wait_ack(wire.results(wire.lease().lease.lease, [0]))
    daemon.kill()
    second = Daemon(tmp_path, database=str(hard))
    second.start(ready=False)
    assert second.process.wait() == 16 and "its log stands beside" in second.log(), second.log()
    daemon.start()
    assert daemon.stop() == 0
    second.start()  # closed in order: there is no log
    with Wire(second.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send(seq=1, query=pb.Query(kind=pb.QUERY_BUILDS, project=b"wire", suite=b"default"))
        assert b"1" in list(wire.expect("rows").rows.cell)
