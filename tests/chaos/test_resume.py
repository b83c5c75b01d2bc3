"""Workers that are out of reach for a while: what they hold and what they found is theirs, and nobody's twice."""
import re

from proxy import TO_SERVER, TO_WORKER, Proxy
from shardlib import attempts, codes, eventually, make_suite, outputs, start_workers

# Each test runs until there is a file of its number in the folder that GO names.
UNTIL_TOLD = {"test_it.py": '''
    import os, time
    import pytest

    @pytest.mark.parametrize("n", range(2))
    def test_it(n):
        while not os.path.exists(os.path.join(os.environ["GO"], str(n))):
            time.sleep(0.01)
'''}
NAMES = ["test_it.py::test_it[0]", "test_it.py::test_it[1]"]


class Heard:
    """A hearer for Proxy: what was said, in order, as [(connection, direction, kind, message)]."""

    def __init__(self):
        self.frames = []

    def __call__(self, connection, direction, frame):
        kind = frame.WhichOneof("body")
        self.frames.append((connection, direction, kind, getattr(frame, kind)))

    def of(self, direction, kind, connection=None):
        return [message for number, way, what, message in list(self.frames)
                if (way, what) == (direction, kind) and connection in (None, number)]


def runs(daemon):
    return {name: len(rows) for name, rows in attempts(daemon).items()}


def test_a_server_that_falls_silent_is_left_and_found_again(tmp_path, make_daemon):
    """The connections are up and nothing comes: one worker is in a test, the other waits for one. A result that is sent
    into the silence is sent again."""
    daemon, heard = make_daemon(lease_ttl="60s", heartbeat="100ms"), Heard()
    with Proxy("unix:%s/p" % tmp_path, daemon.address, hear=heard) as proxy:
        env = {"GO": str(tmp_path), "SHARD_SERVER": proxy.address}
        workers = start_workers(2, daemon, make_suite(tmp_path, UNTIL_TOLD), env=env, args=["--by-file"])
        eventually(lambda: any(worker.ran() for worker in workers), what="a test runs")
        eventually(lambda: heard.of(TO_WORKER, "parked"), what="the other waits")
        proxy.fall_silent()
        (tmp_path / "0").touch()
        for worker in workers:
            eventually(lambda: "it does not answer" in worker.output(), what="the silence is noticed")
            eventually(lambda: "the server is back" in worker.output(), what="it connects again")
        hellos = [hello for hello in heard.of(TO_SERVER, "hello") if hello.session]
        assert sorted(len(hello.held_lease) for hello in hellos) == [0, 1]
        (tmp_path / "1").touch()
        assert codes(workers) == [0, 0], outputs(workers)
    assert re.findall(r"event=worker_back .* revoked=(\d+)", daemon.log()) == ["0", "0"]
    assert runs(daemon) == dict.fromkeys(NAMES, 1)
    assert sorted(workers[0].ran() + workers[1].ran()) == NAMES
