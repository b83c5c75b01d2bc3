"""Nothing that a server says commands the terminal of whoever asks it: every command, in every form of output."""
import os
import pty
import re
import subprocess

import pytest
from hostile import COMMANDS, EVIL, Hostile, commands_in
from shardlib import BUILD, SHARD, clean_env, make_suite
from wire import Wire, pb

ASKED = [["status"], ["status", "--build", BUILD], ["builds"], ["workers"], ["build"], ["slow"], ["slower"], ["flaky"],
         ["broken"], ["test", "a.py::test_bad"], ["log"], ["quarantine", "list"], ["wait"], ["report"], ["owners"],
         ["plan"], ["replay", BUILD, "--node", "0"]]


@pytest.fixture
def served(daemon, tmp_path):
    """A daemon that holds something of everything, and a build with a failure."""
    ids = ["a.py::test_bad", "a.py::test_good", "b.py::test_x"]
    for build in ("0", BUILD):
        with Wire(daemon.address) as wire:
            wire.hello(project="project", build=build, node="0", branch="main", commit="c" + build)
            wire.list(ids, files=["a.py", "a.py", "b.py"])
            while True:
                lease = wire.lease()
                if lease.WhichOneof("body") != "lease":
                    break
                tests = list(lease.lease.test)
                statuses = [pb.STATUS_FAILED if test == 0 else pb.STATUS_PASSED for test in tests]
                texts = {row: b"failed " + EVIL for row, test in enumerate(tests) if test == 0}
                wire.wait_ack(wire.results(lease.lease.lease, tests, statuses, texts, call_us=5000))
            wire.send(bye=pb.Bye(reason=pb.BYE_DONE, late=[b"late " + EVIL]))
            wire.expect("goodbye", skip=("drained", "ack"))
    done = daemon.shard("quarantine", "add", "b.py::test_x", "--reason", "x", "--for", "1d")
    assert done.returncode == 0, done.stderr
    hostile = Hostile(daemon, tmp_path)
    yield hostile
    hostile.close()


def shard(served, *args, **options):
    variables = clean_env(SHARD_SERVER=served.address, SHARD_PROJECT="project", SHARD_BUILD=BUILD)
    return subprocess.run([SHARD, *args], env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, cwd=str(served.daemon.folder), **options)


@pytest.mark.parametrize("args", ASKED, ids=" ".join)
@pytest.mark.parametrize("form", ["table", "--csv", "--json"])
def test_answers(served, args, form):
    done = shard(served, *args, *([] if form == "table" else [form]))
    if done.returncode == 2 and b"unknown flag" in done.stderr:
        pytest.skip("it has no such form")
    assert commands_in(done.stdout) == [] and commands_in(done.stderr) == [], (done.stdout, done.stderr)


@pytest.mark.parametrize("args", [["report", "--junit", "-"], ["report", "--markdown"], ["report", "--json"],
                                  ["export", "-"], ["export", "--format", "junit", "-"]], ids=" ".join)
def test_reports(served, args):
    done = shard(served, *args)
    assert done.returncode in (0, 1), done.stderr
    assert commands_in(done.stdout) == [] and commands_in(done.stderr) == [], (done.stdout, done.stderr)


def test_csv_keeps_the_other_bytes(served):
    """A file is no terminal: what is not UTF-8 and commands none stays as it is."""
    assert b"\xff" in shard(served, "slow", "--csv").stdout
    assert b"\\x1b]0;pwned" in shard(served, "slow", "--csv").stdout


@pytest.mark.parametrize("args", [["slow", "--csv"], ["export", "--format", "csv", "-"], ["test", "a.py::test_bad"]],
                         ids=" ".join)
def test_on_a_terminal(served, args):
    leader, follower = pty.openpty()
    variables = clean_env(SHARD_SERVER=served.address, SHARD_PROJECT="project", SHARD_BUILD=BUILD)
    process = subprocess.Popen([SHARD, *args], env=variables, stdin=follower, stdout=follower, stderr=follower,
                               cwd=str(served.daemon.folder))
    os.close(follower)
    shown = b""
    try:
        while True:
            shown += os.read(leader, 65536)
    except OSError:  # the last one closed it
        pass
    assert process.wait(60) in (0, 1), shown
    os.close(leader)
    shown = re.sub(rb"\x1b\[\d*m", b"", re.sub(rb"\r+\n", b"\n", shown))  # colours are ours
    assert b"pwned" in shown and b"\x1b" not in shown and b"\x9b" not in shown and b"\xff" not in shown, shown
    assert COMMANDS.findall(shown.decode("utf-8", "replace")) == [], shown


def test_runs(served, tmp_path):
    """Goodbye, notes about the list and lists that differ, as a worker tells them."""
    suite = make_suite(tmp_path, {"a.py": "def test_bad(): assert False\ndef test_good(): pass"})
    variables = dict(SHARD_SERVER=served.address, SHARD_PROJECT="project", SHARD_NODE="1")
    for build, list_command in ((BUILD, "echo other"), ("new", "echo false"), ("new2", "echo true")):
        done = subprocess.run([SHARD, "run", "--list", list_command, "--results", "exit", "--", "sh", "-c", "$0"],
                              env=clean_env(SHARD_BUILD=build, **variables), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, cwd=str(suite))
        assert b"pwned" in done.stderr, done.stderr
        assert commands_in(done.stdout) == [] and commands_in(done.stderr) == [], (done.stdout, done.stderr)


def test_refusals(served):
    """Error.text, of a question and of a hello."""
    for args in (["workers", "--build", "none"], ["backup", "a/b"], ["quarantine", "add", "t", "--reason", "x"]):
        done = shard(served, *args)
        assert done.returncode and b"pwned" in done.stderr and commands_in(done.stderr) == [], done.stderr


@pytest.mark.parametrize("number", [-1, 2**62, 2**63 - 1, -2**63, 0])
@pytest.mark.parametrize("form", ["table", "--csv", "--json"])
def test_numbers(served, number, form):
    """No number that a server says ends the program or is believed where it makes no sense."""
    served.numbers = number
    for args in ASKED:
        if args[0] in ("wait", "replay"):
            continue
        done = shard(served, *args, *([] if form == "table" else [form]))
        assert done.returncode in (0, 1, 2, 16), (args, done.returncode, done.stderr)
        assert b"nan" not in done.stdout.lower() and b"inf," not in done.stdout, (args, done.stdout)
