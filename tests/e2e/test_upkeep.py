"""The care of the database: a backup of a running daemon that another one starts from, names that are refused, a check
that finds damage, and the sizes that status shows."""
import os
import pathlib
import sqlite3

import pytest
from shardlib import BUILD, Daemon, eventually, make_suite, run_workers, start_workers, verdicts

SUITE = {"test_a.py": "import os, time\nimport pytest\n@pytest.mark.parametrize('i', range(30))\ndef test_a(i):\n"
                      "    while i == 20 and not os.path.exists('go'): time.sleep(0.01)\n"}


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, SUITE)


def folder(daemon):
    return pathlib.Path(daemon.database).parent


def backup(daemon, name, code=0):
    done = daemon.shard("backup", name)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def test_a_backup_of_a_running_build(daemon, suite, tmp_path):
    (suite / "go").touch()
    assert [worker.wait() for worker in run_workers(1, daemon, suite)] == [0]
    (suite / "go").unlink()
    worker, = start_workers(1, daemon, suite, build="second")
    eventually(lambda: len(worker.ran()) > 20)
    done = backup(daemon, "copy.db")
    assert "copy.db: " in done.stdout and "checked" in done.stdout
    assert sorted(path.name for path in folder(daemon).glob("copy*")) == ["copy.db"]
    assert oct(os.stat(str(folder(daemon) / "copy.db")).st_mode & 0o777) == "0o600"
    (suite / "go").touch()
    assert worker.wait() == 0
    with Daemon(tmp_path, database=str(folder(daemon) / "copy.db")) as other:
        assert verdicts(other) == verdicts(daemon)
        assert [row["build"] for row in other.json("builds")] == ["second", BUILD]
        assert other.json("builds")[0]["state"] == "running"
        assert other.shard("check").returncode == 0
        assert other.stop() == 0


def test_names(daemon):
    for name in ("a/b", "../x", "", ".x", "-x", "x y", "x-wal", "x-journal", "x.lock", "x.tmp", "x\\n", "a" * 300):
        done = daemon.shard("backup", name)
        assert done.returncode == 2, (name, done.stdout, done.stderr)
    backup(daemon, "one.db")
    before = (folder(daemon) / "one.db").read_bytes()
    assert "is there already" in backup(daemon, "one.db", code=16).stderr
    assert (folder(daemon) / "one.db").read_bytes() == before
    (folder(daemon) / "dead.db").symlink_to("nowhere")
    backup(daemon, "dead.db", code=16)
    assert not (folder(daemon) / "nowhere").exists()
    assert not list(folder(daemon).glob("*.tmp"))


def test_damage_is_found(daemon, suite):
    (suite / "go").touch()
    assert [worker.wait() for worker in run_workers(1, daemon, suite)] == [0]
    eventually(lambda: len(daemon.json("slow", "--limit", "100")) == 30)
    assert "is whole" in daemon.shard("check").stdout
    assert daemon.stop() == 0
    with sqlite3.connect(daemon.database) as db:
        db.execute("DELETE FROM test WHERE id=3")
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name='dur_stat_slow'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    daemon.start()
    done = daemon.shard("check")
    assert done.returncode == 16 and "1 durations of tests that are not there" in done.stderr
    assert daemon.stop() == 0
    with open(daemon.database, "r+b") as file:
        file.seek(page * size - 40)
        file.write(b"\xff" * 40)
    daemon.start()
    done = daemon.shard("check")
    assert done.returncode == 16 and "page %d " % page in done.stderr, done.stderr
    assert "event=store_chore what=check" in daemon.log()
    failed = backup(daemon, "bad.db", code=16)
    assert "page %d " % page in failed.stderr, failed.stderr
    assert not (folder(daemon) / "bad.db").exists()


def test_sizes(make_daemon, suite):
    daemon = make_daemon(keep_results="20d")
    (suite / "go").touch()
    assert [worker.wait() for worker in run_workers(1, daemon, suite)] == [0]
    text = daemon.shard("status").stdout
    assert "results   of 1 of 1 builds, since 20" in text and "kept 20d" in text
    assert " KiB, of which " in text and "free on its disk" in text
    assert daemon.json("status", "--build", "none") == []
