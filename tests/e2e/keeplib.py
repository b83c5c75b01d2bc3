"""Files of results that wait for a server, and suites whose tests wait for the test: for test_fallback.py and
test_kept.py."""
from shardlib import Worker, codes, eventually, make_suite, start_workers

ALONE = ["--fallback", "static", "--retried", "no", "--connect-timeout", "300ms"]


def spool(tmp_path):
    return tmp_path / "spool"


def kept(tmp_path):
    return sorted(spool(tmp_path).glob("*.spool")) if spool(tmp_path).exists() else []


def gated(tmp_path):
    """Two tests that wait for files, the first for that named by GATE, the second for that named by LAST, if any."""
    return tmp_path / "gate", make_suite(tmp_path, {"test_a.py": '''
        import os, time

        def wait_for(path):
            end = time.monotonic() + 240
            while path and not os.path.exists(path):
                assert time.monotonic() < end
                time.sleep(0.01)

        def test_slow():
            wait_for(os.environ["GATE"])

        def test_last():
            wait_for(os.environ.get("LAST"))
    '''})


def run_alone(n, daemon, suite, tmp_path, *args, **options):
    workers = start_workers(n, daemon, suite, args=ALONE + ["--total", n, "--spool", spool(tmp_path), *args], **options)
    codes(workers)
    return workers


def submit(daemon, tmp_path, *args):
    return daemon.shard("submit", "--spool", spool(tmp_path), *args)


def cut_off(daemon, tmp_path):
    """A worker that ran test_slow while the daemon was gone, and waits for it: what it knows is on its disk."""
    gate, suite = gated(tmp_path)
    worker = Worker(daemon, suite, env={"GATE": str(gate)}, args=["--spool", spool(tmp_path)])
    eventually(worker.ran, what="the test runs")
    daemon.kill()
    gate.write_text("")
    eventually(lambda: kept(tmp_path), what="there is a file while the daemon is away")
    return worker
