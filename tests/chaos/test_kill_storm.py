"""Short runs of the storms of SIGKILL (kill.py, syscalls.py), and that their end check finds what it is there for."""
import re
import shutil
import sqlite3
import subprocess
import sys

import kill
import pytest
import queuecheck
import shardlib

HERE = shardlib.ROOT / "tests/chaos"


def run(script, *args):
    return subprocess.run([sys.executable, str(HERE / script), *map(str, args), str(shardlib.BUILD_DIR)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=200,
                          env=shardlib.clean_env())


def test_killed_again_and_again():
    done = run("kill.py", "--rounds", 40)
    assert done.returncode == 0 and re.search(r": 0 lost, 0 unexpected;", done.stdout), done.stdout
    assert sum(map(int, re.findall(r"(\d+) (?:daemon|worker)s", done.stdout))) == 40, done.stdout


def test_killed_at_system_calls():
    if shutil.which("strace") is None:
        pytest.fail("strace is missing: make deps DEPS=test")
    done = run("syscalls.py", "--every", 17)
    if done.returncode == 77:
        print(done.stdout)
        pytest.skip("NOT TESTED: SIGKILL at system calls. " + done.stdout.strip())
    assert done.returncode == 0 and ", 0 results lost, 0 files damaged" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def stormed(tmp_path_factory):
    """A storm whose one build is over, and its database, closed."""
    storm = kill.Storm(tmp_path_factory.mktemp("storm"), 3, 2)
    storm.run(4)
    return storm


@pytest.mark.parametrize("harm", [
    "DELETE FROM result WHERE test=(SELECT min(test) FROM result)",
    "UPDATE result SET status=2 WHERE test=(SELECT min(test) FROM result)",
    "UPDATE result SET worker=worker+1000 WHERE test=(SELECT max(test) FROM result)",
    "INSERT INTO result SELECT build, test, attempt+9, worker+1000, 1, 4, 1, 1, 1, 1, 1 FROM result LIMIT 1",
    "UPDATE result SET flags=0 WHERE test=(SELECT min(test) FROM result)",
    "UPDATE build SET passed=passed-1",
    "UPDATE build SET state=4",
], ids=["gone", "changed", "another's", "from nowhere", "unsettled", "miscounted", "incomplete"])
def test_the_check_finds(stormed, tmp_path, harm):
    database = tmp_path / "harmed.db"
    shutil.copy(stormed.daemon.database, database)
    queuecheck.check(database, stormed.ledger, "b1", stormed.expected())
    with sqlite3.connect(database) as db:
        assert db.execute(harm).rowcount >= 1
    db.close()
    with pytest.raises(AssertionError):
        queuecheck.check(database, stormed.ledger, "b1", stormed.expected())
