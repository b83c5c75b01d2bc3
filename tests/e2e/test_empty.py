"""Messages whose parts are empty: what is not there has no place in memory either, and is not copied from there. With
sanitizers (`make check` runs these with them) the daemon ends at the first such copy."""
from wire import Wire, message, pb


def joined(daemon, **fields):
    wire = Wire(daemon.address)
    wire.hello(**fields)
    return wire


def test_a_list_without_tests(daemon):
    with joined(daemon) as wire:
        assert wire.list([]).want == pb.LIST_OK
        assert wire.lease().WhichOneof("body") == "drained"
    with joined(daemon, role=pb.ROLE_PLAN) as wire:
        wire.upload([])
        wire.send(seq=1, query=pb.Query(kind=pb.QUERY_PLAN, workers=2))
        wire.expect("rows", "error")
    assert daemon.running(), daemon.log()


def test_a_bye_with_empty_texts(daemon):
    with joined(daemon, build="2") as wire:
        assert wire.list(["t"]).want == pb.LIST_OK
        wire.send(bye=message(pb.Bye, reason=pb.BYE_DONE, late=["", "an error", ""], text=""))
        assert wire.expect("goodbye", skip=("drained",)).goodbye.exit_code == 1
    assert daemon.running(), daemon.log()


def test_a_session_that_holds_nothing(daemon):
    with Wire(daemon.address) as wire:
        welcome = wire.hello(build="3")
        wire.list(["t"])
        lease = wire.lease().lease.lease
    with Wire(daemon.address) as wire:
        again = wire.hello(build="3", session=welcome.session, held_lease=[lease], held_count=[0], held_test=[])
        assert again.worker == welcome.worker
    assert daemon.running(), daemon.log()


def test_empty_names_everywhere(daemon):
    with joined(daemon, build="4", project="", suite="", commit="", branch="", node="", attempt="", host="") as wire:
        assert wire.list(["t"], files=[""]).want == pb.LIST_OK
        done = wire.lease(names=True)
        assert done.WhichOneof("body") == "lease"
        wire.wait_ack(wire.results(done.lease.lease, [0], status=pb.STATUS_FAILED, texts={0: ""}))
    with joined(daemon, role=pb.ROLE_ADMIN) as wire:
        for kind in pb.QueryKind.values():
            if kind not in (pb.QUERY_UNSET, pb.QUERY_WAIT):
                wire.send(seq=kind, query=pb.Query(kind=kind))
                wire.expect("rows", "error")
    assert daemon.running(), daemon.log()
