"""A server without room for more: who holds nothing keeps nobody out, and who is turned away comes again."""
import contextlib

import pytest
from shardlib import BUILD, Worker, eventually, make_suite
from wire import Wire, pb

SUITE = {"a.sh": "exit 0"}


def worker(daemon, tmp_path, *args, **options):
    return Worker(daemon, make_suite(tmp_path, SUITE), command=["sh"],
                  args=["--list", "ls *.sh", "--results", "exit", *args], **options)


def states(daemon):
    return {row["build"]: row["state"] for row in daemon.json("status")}


def running(daemon, build):
    """A connection that holds a build with a list."""
    wire = Wire(daemon.address)
    wire.hello(project="project", build=build, node="0")
    assert wire.list(["t"]).want == pb.LIST_OK
    return wire


def test_hellos_do_not_use_up_the_builds(make_daemon, tmp_path):
    """A Hello for each key, by connections that go: no list ever comes, and others find room."""
    daemon = make_daemon(max_builds="3")
    for key in range(100):
        with Wire(daemon.address) as wire:
            wire.hello(project="project", build="flood%d" % key)
    assert len(states(daemon)) <= 12 + 1, "four times max-builds, and what is about to leave"
    done = worker(daemon, tmp_path)
    assert done.wait() == 0, done.output()
    assert "busy" not in done.output()


def test_hellos_that_stay(make_daemon):
    """Connections that stay are bounded too; the oldest one's key is still its own."""
    daemon = make_daemon(max_builds="2")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(daemon.address)) for _ in range(8)]
        for key, wire in enumerate(wires):
            wire.hello(project="project", build="stays%d" % key)
        with Wire(daemon.address) as wire:
            wire.hello(expect=None, project="project", build="one more")
            error = wire.expect_error("ERROR_BUSY", closes=True)
            assert error.retry_us > 0 and b"collecting" in error.text
        wires[3].close()

        def let_in():
            with Wire(daemon.address) as wire:
                wire.hello(expect=None, project="project", build="one more")
                return wire.recv().WhichOneof("body") == "welcome"
        eventually(let_in, what="there is room again")
        assert wires[0].list(["t"]).want == pb.LIST_OK


def test_a_build_that_gave_way_comes_back(make_daemon):
    """Its worker was away when others needed the room: it is let in again, and its build goes on."""
    daemon = make_daemon(max_builds="1")
    with Wire(daemon.address) as wire:
        welcome = wire.hello(project="project", build="first")
    for key in range(10):
        with Wire(daemon.address) as wire:
            wire.hello(project="project", build="other%d" % key)
    with Wire(daemon.address) as wire:
        again = wire.hello(project="project", build="first", session=welcome.session)
        assert (again.session, again.worker) == (welcome.session, welcome.worker)
        assert wire.list(["t"]).want == pb.LIST_OK
        wire.wait_ack(wire.results(wire.lease().lease.lease, [0]))
        wire.send(bye=pb.Bye(reason=pb.BYE_DONE))
        assert wire.expect("goodbye", skip=("drained", "ack")).goodbye.exit_code == 0


def test_lists_are_what_counts(make_daemon):
    """max-builds bounds the builds with a list, also when their hellos came before."""
    daemon = make_daemon(max_builds="1")
    with Wire(daemon.address) as first, Wire(daemon.address) as second:
        first.hello(project="project", build="1")
        second.hello(project="project", build="2")
        assert first.list(["t"]).want == pb.LIST_OK
        second.send(list_offer=pb.ListOffer(count=1, sha256=b"x" * 32))
        error = second.expect_error("ERROR_BUSY", closes=True)
        assert error.retry_us > 0 and b"max-builds is 1" in error.text


@pytest.mark.parametrize("when", ["at the hello", "at the list"])
def test_a_worker_waits_for_room(make_daemon, tmp_path, when):
    daemon = make_daemon(max_builds="1")
    args = []
    if when == "at the hello":
        held = running(daemon, "held")
    else:  # it says hello while there is room, and the other one's list comes first
        (tmp_path / "go").unlink(missing_ok=True)
        args = ["--list", "while [ ! -e %s ]; do sleep 0.05; done; ls *.sh" % (tmp_path / "go")]
    one = worker(daemon, tmp_path, *args)
    if when != "at the hello":
        eventually(lambda: BUILD in states(daemon), what="its hello")
        held = running(daemon, "held")
        (tmp_path / "go").touch()
    eventually(lambda: "is busy: too many running builds" in one.output(), what="it says why it waits")
    assert daemon.address in one.output() and one.running()
    held.wait_ack(held.results(held.lease().lease.lease, [0]))
    held.close()
    assert one.wait() == 0, one.output()
    assert one.output().count("is busy") == 1, "said once"


def test_a_worker_gives_up(make_daemon, tmp_path):
    daemon = make_daemon(max_builds="1")
    with running(daemon, "held"):
        one = worker(daemon, tmp_path, "--server-timeout", "3s")
        assert one.wait() == 16, one.output()
        assert "is busy: too many running builds" in one.output(), one.output()


def test_submit_waits_for_room(make_daemon, tmp_path, away):
    """Results of a time without a server, handed over to one that is full at first."""
    alone = worker(away, tmp_path, "--fallback", "static", "--retried", "no", "--connect-timeout", "300ms", "--total",
                   "1", "--spool", tmp_path / "spool")
    assert alone.wait() == 0, alone.output()
    away.options["max_builds"] = "1"
    away.start()
    held = running(away, "held")
    done = away.shard("submit", "--spool", tmp_path / "spool", "--connect-timeout", "1s")
    assert done.returncode == 16 and "too many running builds" in done.stderr, done.stderr
    held.wait_ack(held.results(held.lease().lease.lease, [0]))
    held.close()
    done = away.shard("submit", "--spool", tmp_path / "spool")
    assert done.returncode == 0, done.stderr
