"""What the generated pytest suites are made of, the counterpart of hunt.sh. Every execution of a test's body, or of a
fixture that fails in its place, is noted in HUNT_LOG."""
import atexit
import json
import os
import signal
import time

import pytest

with open("acts.json") as source:
    ACTS = json.load(source)
STATE, LACKS = os.environ["HUNT_STATE"], bool(os.environ.get("HUNT_LACKS"))
SESSIONS, RAN = [], []  # of this process: its session at the end, and the tests that it began


def note(*words):
    fd = os.open(os.environ["HUNT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (" ".join((os.environ["HUNT_JOB"],) + words) + "\n").encode())
    os.close(fd)


def first(name):
    """True at the first call for a name in a history."""
    try:
        os.mkdir(os.path.join(STATE, name))
    except FileExistsError:
        return False
    return True


def hold(name):
    """Waits until this process is killed."""
    if first("held." + name):
        place = os.path.join(STATE, "held." + name, "pid")
        with open(place + ".part", "w") as out:
            out.write("%d\n" % os.getpid())
        os.rename(place + ".part", place)
        note(name, "held")
        time.sleep(20)


def gate(name):
    """In the job that the hunt starts first: waits until it opens the gate."""
    if not os.environ.get("HUNT_GATE") or not first("gate." + name):
        return
    note(name, "gated")
    end = time.monotonic() + 6
    while not os.path.exists(os.path.join(STATE, "open")) and time.monotonic() < end:
        time.sleep(0.02)


def die(name, word):
    note(name, word)
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    os._exit(0)


def act(name):
    """Does what the test is to do."""
    word = ACTS[name]
    RAN.append(name)
    note(name, "begin")
    if word == "skip" or (word in ("needs", "needsfail") and LACKS):
        note(name, "skip")
        pytest.skip("needs docker")
    if word in ("fail", "needsfail") or (word == "once" and first("once." + name)):
        note(name, "fail")
        raise AssertionError("wrong")
    if word in ("crash", "exit0"):
        die(name, word)
    if word == "hang":
        note(name, "hang")
        time.sleep(20)
    if word in ("hold", "gate"):
        globals()[word](name)
    note(name, "pass")


def spoil(name):
    """The fixture of a test that ends in an error."""
    RAN.append(name)
    note(name, "begin")
    note(name, "error")
    raise RuntimeError("the fixture is broken")


def leave():
    """The end of the session: in some jobs something is wrong behind the last test, or the machine is lost there."""
    if os.environ.get("HUNT_AT_END"):
        hold("end")
    if os.environ.get("HUNT_LATE") == "fixture":
        note("-", "late")
        raise AssertionError("the service left rows behind")


def end(place):
    """Behind the session's tests, with the exit status that a failing test gives to pytest."""
    if os.environ.get("HUNT_LATE") != place or not RAN:
        return
    if place == "handler" and SESSIONS[-1].exitstatus != 1:
        return  # another status would tell it apart
    note("-", "late")
    if place == "handler":
        os._exit(1)
    if place == "exit":
        pytest.exit("rows are left behind", returncode=1)
    if place != "status":
        raise RuntimeError("rows are left behind")
    SESSIONS[-1].exitstatus = pytest.ExitCode.TESTS_FAILED


atexit.register(end, "handler")
