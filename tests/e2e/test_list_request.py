"""The list on its way to workers that have not collected, on the wire: in pages, when there is one; or they are asked
to collect, when nobody else does."""
import pytest
from wire import SOURCES, Wire, digest, pb


def waits(wire):
    """What was sent so far is not answered yet: the answer to what is sent now comes first."""
    wire.send(heartbeat={})
    wire.expect("ack")


def pages(wire):
    """(ids, files of ids) of the list as the server sends it, asked for page by page; and the number of pages."""
    ids, files, file_of, count = [], [], [], 0
    while True:
        wire.send(list_request=dict(tests=len(ids), files=len(files), sources=SOURCES))
        chunk = wire.expect("list_chunk", skip=("ack",)).list_chunk
        assert len(chunk.id) == len(chunk.file_of) == len(chunk.unit_of) and (chunk.id or chunk.file or chunk.last)
        ids += chunk.id
        files += chunk.file
        file_of += chunk.file_of
        count += 1
        if chunk.last:
            return [i.decode() for i in ids], [None if f == 0xffffffff else files[f].decode() for f in file_of], count


@pytest.mark.parametrize("number, bytes_", [(0, 0), (1, 0), (12000, 0), (700, 1000)])
def test_list_in_pages(daemon, number, bytes_):
    ids = ["test_%05d.py::test%s" % (n, "x" * bytes_) for n in range(number)][::-1]
    files = [None if n % 7 == 3 else "f%d%s" % (n // 2, "y" * bytes_) for n in range(number)]
    with Wire(daemon.address) as first, Wire(daemon.address) as second:
        assert not first.hello(node="0").collecting
        welcome = second.hello(node="1")
        assert welcome.collecting and not welcome.list_known
        second.send(list_request=dict(sources=SOURCES))
        waits(second)
        assert first.offer(ids).want == pb.LIST_SEND
        first.upload(ids, files, chunk=300 if bytes_ else 5000)
        assert first.expect("list_reply").list_reply.want == pb.LIST_OK
        chunk = second.expect("list_chunk").list_chunk
        assert chunk.last == (number <= 1)
        found, found_files, count = pages(second)
        assert (found, found_files) == (ids, files)
        assert count > 3 if bytes_ else count == max(1, (number + 4999) // 5000)


def test_who_is_asked_to_collect(daemon):
    """Those who wait, all of them, once nobody is left who may bring a list; not while one is."""
    with Wire(daemon.address) as first, Wire(daemon.address) as second, Wire(daemon.address) as third:
        first.hello(node="0")
        second.hello(node="1")
        assert third.hello(node="2").collecting
        third.send(list_request=dict(sources=SOURCES))
        waits(third)
        first.send(bye=dict(reason=pb.BYE_FAILED))
        first.expect("goodbye")
        waits(third)  # the second has not said that it does: it may be collecting
        second.send(list_request=dict(sources=SOURCES))
        for wire in (second, third):
            assert wire.expect("list_reply").list_reply.want == pb.LIST_SEND
        assert second.list(["a", "b"]).want == pb.LIST_OK
        assert third.offer(["b", "a"]).want == pb.LIST_OK
        with Wire(daemon.address) as late:
            welcome = late.hello(node="3")
            assert welcome.list_known and not welcome.collecting
            assert pages(late)[0] == ["a", "b"]


def test_collector_gone_in_the_middle_of_its_list(daemon):
    with Wire(daemon.address) as first, Wire(daemon.address) as second:
        first.hello(node="0")
        second.hello(node="1")
        second.send(list_request=dict(sources=SOURCES))
        first.send(list_offer=dict(count=2, sha256=digest(["a", "b"]), sources=SOURCES))
        assert first.expect("list_reply").list_reply.want == pb.LIST_SEND
        first.send(list_chunk=dict(id=["a"], file_of=[0xffffffff], unit_of=[0]))
        first.close()
        assert second.expect("list_reply").list_reply.want == pb.LIST_SEND
        assert second.list(["a", "b"]).want == pb.LIST_OK


def test_returning_worker_asks_again(daemon):
    """What waited on the old connection gets nothing on the new one before it has asked there."""
    with Wire(daemon.address) as first, Wire(daemon.address) as second, Wire(daemon.address) as again:
        first.hello(node="0")
        session = second.hello(node="1").session
        second.send(list_request=dict(sources=SOURCES))
        waits(second)
        again.hello(node="1", session=session)
        second.expect_end()
        assert first.list(["a", "b"]).want == pb.LIST_OK
        assert pages(again) == (["a", "b"], [None, None], 1)
        again.send(list_request=dict(tests=3))
        again.expect_error("ERROR_STATE", closes=True)
