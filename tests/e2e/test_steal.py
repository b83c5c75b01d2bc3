"""Steal-back: tests that a stuck worker holds and has not begun are run by the one that has nothing to do."""
import pytest

from shardlib import Worker, codes, eventually, make_suite, plain_pytest, verdicts

GATE = '''
import os, time
import pytest

def wait():
    end = time.monotonic() + 240
    while not os.path.exists(os.environ["E2E_GATE"]):
        assert time.monotonic() < end, "the gate stays shut"
        time.sleep(0.01)

def test_gate():
    wait()

@pytest.mark.parametrize("number", range(30))
def test_other(number):
    pass
'''
SCRIPT = """
case "$1" in
gate) : >"$E2E_GATE.begun"; while ! [ -e "$E2E_GATE" ]; do sleep 0.02; done ;;
esac
echo "$1" >>"$E2E_RAN.$SHARD_NODE"
"""


def settled(daemon, count):
    return sum(status != "missing" for status in verdicts(daemon).values()) >= count


def test_stuck_worker_keeps_only_what_runs(tmp_path, daemon):
    suite = make_suite(tmp_path, {"test_gate.py": GATE})
    env = {"E2E_GATE": str(tmp_path / "gate")}
    stuck = Worker(daemon, suite, node="0", env=env)
    eventually(lambda: stuck.ran(), what="the first test has begun")
    idle = Worker(daemon, suite, node="1", env=env)
    eventually(lambda: settled(daemon, 30), what="all but the stuck test have their verdict")
    (tmp_path / "gate").touch()
    assert codes([stuck, idle]) == [0, 0]
    assert stuck.ran() == ["test_gate.py::test_gate"]
    assert sorted(stuck.ran() + idle.ran()) == sorted(plain_pytest(suite, env=env).outcomes)


@pytest.mark.parametrize("kill", [True, False], ids=["SIGKILL", "SIGTERM"])
def test_restart(tmp_path, make_daemon, kill):
    """What was handed back is run once, also when the server ends in the middle of it."""
    daemon = make_daemon(lease_ttl="3s", heartbeat="200ms")
    suite = make_suite(tmp_path, {"test_gate.py": GATE})
    env = {"E2E_GATE": str(tmp_path / "gate")}
    stuck = Worker(daemon, suite, node="0", env=env)
    eventually(lambda: stuck.ran(), what="the first test has begun")
    idle = Worker(daemon, suite, node="1", env=env)
    eventually(lambda: len(idle.ran()) >= 20, what="the second worker is at work")
    daemon.restart(kill=kill)
    eventually(lambda: settled(daemon, 30), what="all but the stuck test have their verdict")
    (tmp_path / "gate").touch()
    assert codes([stuck, idle]) == [0, 0]
    assert stuck.ran() == ["test_gate.py::test_gate"]
    assert sorted(idle.ran()) == sorted(set(idle.ran())), "twice"


def test_command_runner(tmp_path, daemon):
    """Tests that are a process each: what waits behind the running one is handed back."""
    names = ["gate"] + ["t%d" % i for i in range(20)]
    suite = make_suite(tmp_path, {"list": "\n".join(names) + "\n", "run.sh": SCRIPT})
    env = {"E2E_GATE": str(tmp_path / "gate"), "E2E_RAN": str(tmp_path / "ran")}
    how = dict(env=env, command=["sh", "run.sh", "{}"], args=["--runner", "command", "--list-file", "list"])
    stuck = Worker(daemon, suite, node="0", **how)
    eventually((tmp_path / "gate.begun").exists, what="the first test has begun")
    idle = Worker(daemon, suite, node="1", **how)
    eventually(lambda: settled(daemon, 20), what="all but the stuck test have their verdict")
    (tmp_path / "gate").touch()
    assert codes([stuck, idle]) == [0, 0]
    assert (tmp_path / "ran.0").read_text().split() == ["gate"]
    assert sorted((tmp_path / "ran.1").read_text().split()) == sorted(names[1:])
