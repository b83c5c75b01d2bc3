"""Names that are not those of regular files: a named pipe without a writer, a socket, a folder, a device. No program
waits for one of them or reads it without end: it says what it is, and ends."""
import os
import socket

import pytest
from keeplib import kept, spool, submit
from shardlib import BUILD
from wire import Wire

PIPE = "it is a named pipe, not a regular file"
QUICK_S = 30  # a bound for what hangs


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_spool_folder_with_odd_files(daemon, tmp_path, make):
    """`shard submit` goes over what is not a file of results, says so, and hands over the others."""
    spool(tmp_path).mkdir()
    make(str(spool(tmp_path) / "a.spool"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(spool(tmp_path) / "b.spool"))
        done = submit(daemon, tmp_path)
    assert done.returncode == 16 and "a.spool was not handed over" in done.stderr, done.stderr
    assert done.stderr.count("not a regular file") == 2, done.stderr
    assert len(kept(tmp_path)) == 2, "what is not ours is not removed"


def test_spool_files_by_name(daemon, tmp_path, pipe):
    done = submit(daemon, tmp_path, pipe)
    assert done.returncode == 16 and PIPE in done.stderr, done.stderr


@pytest.mark.parametrize("args", [["import", "{}"], ["import", "--format", "junit", "{}"],
                                  ["import", "--format", "csv", "{}"], ["plan", "--simulate", "{}"],
                                  ["quarantine", "import", "{}"],
                                  ["status", "--token-file", "{}"], ["status", "--config", "{}"]])
def test_options_that_name_a_pipe(daemon, pipe, args):
    done = daemon.shard(*[arg.format(pipe) for arg in args], timeout=QUICK_S)
    assert done.returncode in (2, 16) and PIPE in done.stderr, (done.returncode, done.stderr)


def test_files_that_are_found_by_their_names(daemon, tmp_path):
    """shard.yml and CODEOWNERS of a checkout."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    os.mkfifo(folder / "CODEOWNERS")
    daemon.shard("owners", cwd=str(folder), timeout=QUICK_S)
    os.mkfifo(folder / "shard.yml")
    done = daemon.shard("status", cwd=str(folder), timeout=QUICK_S)
    assert done.returncode == 2 and PIPE in done.stderr, (done.returncode, done.stderr)


def test_output_into_a_pipe_that_nobody_reads(daemon, pipe):
    with Wire(daemon.address) as wire:
        wire.hello(project="project", build=BUILD)
        wire.list(["t"])
    done = daemon.shard("report", "--junit", pipe, timeout=QUICK_S)
    assert done.returncode == 16 and "a named pipe that nobody reads" in done.stderr, (done.returncode, done.stderr)


def test_process_substitution_goes_on(daemon):
    """bash puts an anonymous pipe in a file's place."""
    done = daemon.shard("import", "/dev/stdin", stdin=None, input='{"test_a.py::test_one": 1.5}', timeout=QUICK_S)
    assert done.returncode == 0, done.stderr
    assert "test_a.py::test_one" in daemon.shard("slow").stdout


def test_daemon_with_odd_files(away, pipe):
    away.options["token_file"] = str(pipe)
    process = away.start(ready=False).process
    assert process.wait() == 2 and PIPE in away.log(), away.log()
