"""Tests that print without end: what is kept of it is bounded, so is the worker's memory, and the verdict is the
test's."""
import re

import pytest
import shardlib
from shardlib import attempts, eventually, make_suite

FLOOD_BYTES, TEXT_MAX_BYTES = 20 << 20, 64 << 10
PEAK_MB = 700 if "address" in shardlib.BUILD_DIR.name else 24  # what it printed, and the program itself, would be more
LINE = "x" * 1023
PYTHON_SUITE = {"test_flood.py": '''
    import sys
    import pytest

    @pytest.mark.parametrize("code", [0, 1])
    def test_it(code):
        print("THE BEGINNING")
        for _ in range(%d):
            print(%r)
        print("THE END", flush=True)
        assert code == 0
''' % (FLOOD_BYTES // 1024, LINE)}
SHELL_SUITE = {"ids": "0\n1\n", "run.sh": '''
    echo THE BEGINNING
    yes %s | head -n %d
    echo THE END
    exit $1
''' % (LINE, FLOOD_BYTES // 1024)}


def ended(worker):
    """(exit code, the most memory it ever had, in MB) of a worker, which is looked at as long as it runs."""
    peak_kb = 0

    def look():
        nonlocal peak_kb
        try:
            with open("/proc/%d/status" % worker.pid) as status:
                peak_kb = max([peak_kb] + [int(line.split()[1]) for line in status if line.startswith("VmHWM")])
        except (FileNotFoundError, ProcessLookupError):
            pass
        return not worker.running()
    eventually(look, timeout=shardlib.LIMIT_S, what="the worker ends")
    return worker.wait(), peak_kb / 1024


def check(daemon, worker, passed, failed):
    code, peak_mb = ended(worker)
    assert code == 1, worker.output()[-2000:]
    assert 1 < peak_mb < PEAK_MB
    found = attempts(daemon)
    assert {name: [row["status"] for row in rows] for name, rows in found.items()} == {
        passed: ["passed"], failed: ["failed"]}
    assert daemon.shard("wait").returncode == 1
    assert not found[passed][0]["text"]
    text = found[failed][0]["text"]
    assert len(text.encode()) <= TEXT_MAX_BYTES
    return text


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_under_pytest(tmp_path, daemon, capture):
    """Why it failed is kept, with the ends of what it printed; without capture that goes to the job's log alone."""
    command = shardlib.PYTEST + ["--capture", capture]
    worker = shardlib.Worker(daemon, make_suite(tmp_path, PYTHON_SUITE), command=command)
    text = check(daemon, worker, "test_flood.py::test_it[0]", "test_flood.py::test_it[1]")
    assert "assert 1 == 0" in text
    assert capture == "no" or (text.endswith("THE END") and len(text) > TEXT_MAX_BYTES / 2)


def test_under_the_command_runner(tmp_path, daemon):
    worker = shardlib.Worker(daemon, make_suite(tmp_path, SHELL_SUITE), command=["sh", "run.sh", "{}"],
                             args=["--list-file", "ids"])
    text = check(daemon, worker, "0", "1")
    assert text.startswith("THE BEGINNING") and "THE END" in text and len(text) > TEXT_MAX_BYTES / 2
    assert re.search(r"\[\.\.\. \d+ bytes left out \.\.\.\]", text)
