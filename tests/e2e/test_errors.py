"""Everything that can be wrong between a worker and its server: each ends with the documented error and exit code. The
address, the token, the version, the files, the suite, the list. A disk or descriptors that run out are in
test_shortage.py, attacks on the wire in test_attacks.py."""
import contextlib
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest
from shardlib import (BUILD, PROJECT, PYTEST, SHARD, SHARDD, Daemon, Worker, clean_env, codes, eventually, make_suite,
                      outputs, start_workers, verdicts)
from wire import Wire, frame, pack, pb

TOKEN = "a-token-of-more-than-16-characters"
ONE = {"test_a.py": "def test_one():\n    pass\n"}


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path, ONE)


def shard(*args, cwd, **env):
    return subprocess.run([SHARD, *map(str, args)], env=clean_env(SHARD_PROJECT=PROJECT, **env), cwd=str(cwd),
                          text=True, errors="replace", stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def run(suite, *args, **env):
    """One `shard run` of the suite with a server that may not be there for long."""
    return shard("run", "--build", BUILD, "--node", "0", "--connect-timeout", "500ms", *args, "--", *PYTEST, cwd=suite,
                 **env)


# ---- the server is not there

@pytest.mark.parametrize("address, why", [
    ("unix:/nowhere/of/this/name", "No such file or directory"),
    ("tcp://127.0.0.1:1", "Connection refused"),
    ("tcp://nowhere.invalid", "nowhere.invalid"),
])
def test_server_absent(suite, address, why):
    done = run(suite, SHARD_SERVER=address)
    assert done.returncode == 16, done.stderr
    assert address in done.stderr or "nowhere.invalid" in done.stderr
    assert why in done.stderr and "SHARD_SERVER" in done.stderr, "says what to do"


@pytest.mark.parametrize("subcommand", ["status", "builds", "workers", "slow", "flaky", "report", "wait"])
def test_server_absent_for_questions(suite, subcommand):
    done = shard(subcommand, "--connect-timeout", "300ms", cwd=suite, SHARD_SERVER="unix:/nowhere/of/this/name")
    assert done.returncode == 16, done.stderr
    assert "unix:/nowhere/of/this/name" in done.stderr


def test_no_server_named(suite):
    done = run(suite)
    assert done.returncode == 2
    assert "SHARD_SERVER" in done.stderr and "shard local" in done.stderr


@pytest.mark.parametrize("address", ["foo:bar", "unix:", "tcp://", "tcp://host:port", "tls://host"])
def test_no_address(suite, address):
    done = run(suite, SHARD_SERVER=address)
    assert done.returncode == 2, done.stderr
    assert address in done.stderr


def test_server_comes_late(tmp_path, suite):
    """A server that starts while the worker asks for it is found."""
    with Daemon(tmp_path) as daemon:
        daemon.stop()
        worker = Worker(daemon, suite, args=["--connect-timeout", "30s"])
        daemon.start()
        assert worker.wait() == 0, worker.output()


def test_something_else_listens(tmp_path, suite):
    """A server of another kind is told from a shardd, and named."""
    path = str(tmp_path / "other")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(path)
        other.listen(8)

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = other.accept()
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    peer.close()
        threading.Thread(target=answer, daemon=True).start()
        done = run(suite, SHARD_SERVER="unix:" + path)
        other.shutdown(socket.SHUT_RDWR)
    assert done.returncode == 16, done.stderr
    assert path in done.stderr


# ---- tokens

@pytest.fixture
def guarded(tmp_path, make_daemon):
    """A daemon with a token, on TCP, where who connects is unknown. Port: a free one."""
    tokens = tmp_path / "tokens"
    tokens.write_text("# for the tests\n%s\n" % TOKEN)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    return make_daemon(listen="tcp://127.0.0.1:%d" % port, token_file=str(tokens))


def test_right_token(guarded, suite, tmp_path):
    assert run(suite, SHARD_SERVER=guarded.address, SHARD_TOKEN=TOKEN).returncode == 0
    path = tmp_path / "mine"
    path.write_text(TOKEN + "\n")
    done = shard("builds", "--token-file", path, cwd=suite, SHARD_SERVER=guarded.address)
    assert done.returncode == 0 and BUILD in done.stdout


def test_wrong_token(guarded, suite):
    done = run(suite, SHARD_SERVER=guarded.address, SHARD_TOKEN="another" + TOKEN)
    assert done.returncode == 2, done.stderr
    assert "token" in done.stderr and TOKEN not in done.stderr
    assert TOKEN not in guarded.log()


def test_missing_token(guarded, suite):
    done = run(suite, SHARD_SERVER=guarded.address)
    assert done.returncode == 2, done.stderr
    assert "SHARD_TOKEN" in done.stderr
    asked = shard("status", cwd=suite, SHARD_SERVER=guarded.address)
    assert asked.returncode == 2 and "SHARD_TOKEN" in asked.stderr


def test_token_is_kept_out_of_tests(guarded, tmp_path):
    suite = make_suite(tmp_path, {"test_a.py": "import os\ndef test_it():\n"
                                               "    assert not any('%s' in v for v in os.environ.values())\n" % TOKEN})
    assert run(suite, SHARD_SERVER=guarded.address, SHARD_TOKEN=TOKEN).returncode == 0


def test_any_address_without_tokens_is_refused(tmp_path):
    done = subprocess.run([SHARDD, "--listen", "tcp://0.0.0.0:0", "--database", str(tmp_path / "s.db")],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "token-file" in done.stderr and "tcp://0.0.0.0:0" in done.stderr
    assert not (tmp_path / "s.db").exists()


# ---- versions

def test_another_version_of_the_client(daemon):
    with Wire(daemon.address) as wire:
        wire.hello(expect=None, version=2)
        error = wire.expect_error("ERROR_VERSION", closes=True)
    assert b"version 2" in error.text and b"speaks 1" in error.text


def test_another_version_of_the_server(tmp_path, suite):
    """A daemon that refuses the worker's version: played, since ours has one."""
    path = str(tmp_path / "old")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(path)
        server.listen(1)
        worker = subprocess.Popen([SHARD, "run", "--server", "unix:" + path, "--build", BUILD, "--", *PYTEST],
                                  env=clean_env(), cwd=str(suite), stderr=subprocess.PIPE, text=True)
        peer, _ = server.accept()
        size = struct.unpack(">I", peer.recv(4, socket.MSG_WAITALL))[0]
        hello = pb.Frame.FromString(peer.recv(size, socket.MSG_WAITALL)).hello
        assert hello.version == 1 and hello.build == BUILD.encode()
        peer.sendall(pack(frame(error=dict(code=pb.ERROR_VERSION, text="the client speaks 1, this speaks \033[1m7"))))
        _, said = worker.communicate(timeout=60)
        peer.close()
    assert worker.returncode == 2, said
    assert "speaks \\x1b[1m7" in said and "\033" not in said


# ---- files and flags

BROKEN = [  # text, where it is wrong, what is said of it
    ("%s: [a\n", "2:1", "did not find expected"),
    ("%s: 'a\n", "2:1", "found unexpected end of stream"),
    ("%s: &x a\n", None, "anchor"),
    ("- a\n", "1:1", ""),
    ("%s: a: b\n", "1:", "mapping values are not allowed"),
    ("\t%s: a\n", "1:", "indent with spaces"),
]


@pytest.mark.parametrize("text, place, said", BROKEN)
def test_broken_shard_yml(suite, text, place, said):
    (suite / "shard.yml").write_text(text.replace("%s", "server"))
    done = run(suite)
    assert done.returncode == 2, done.stderr
    found = re.search(r"shard\.yml:(\d+:\d+): ", done.stderr)
    assert found and found[1].startswith(place or ""), done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("text, place, said", BROKEN)
def test_broken_shardd_yml(tmp_path, text, place, said):
    path = tmp_path / "shardd.yml"
    path.write_text(text.replace("%s", "database"))
    for extra in ([], ["--check-config"]):
        done = subprocess.run([SHARDD, "--config", str(path), *extra], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2, done.stderr
        found = re.search(r"shardd\.yml:(\d+:\d+): ", done.stderr)
        assert found and found[1].startswith(place or ""), done.stderr
        assert said in done.stderr and done.stdout == ""


def test_binary_shard_yml(suite):
    (suite / "shard.yml").write_bytes(bytes(range(128, 256)))
    done = run(suite)
    assert done.returncode == 2 and re.search(r"shard\.yml:\d+:\d+: ", done.stderr)


@pytest.mark.parametrize("text, key, nearest", [("retrys: 1\n", "retrys", "retries"),
                                                ("sever: unix:/x\n", "sever", "server"),
                                                ("max-failurs: 1\n", "max-failurs", "max-failures")])
def test_unknown_key_of_shard_yml(suite, text, key, nearest):
    (suite / "shard.yml").write_text("# a comment\nsuite: unit\n" + text)
    done = run(suite)
    assert done.returncode == 2
    assert re.search(r'shard\.yml:3:1: unknown key "%s".*%s' % (key, nearest), done.stderr), done.stderr


@pytest.mark.parametrize("text, key, nearest", [("lease-tlt: 5s\n", "lease-tlt", "lease-ttl"),
                                                ("data-base: x\n", "data-base", "database")])
def test_unknown_key_of_shardd_yml(tmp_path, text, key, nearest):
    path = tmp_path / "shardd.yml"
    path.write_text("log-level: warn\n" + text)
    done = subprocess.run([SHARDD, "--config", str(path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert re.search(r'shardd\.yml:2:1: unknown key "%s".*%s' % (key, nearest), done.stderr), done.stderr


@pytest.mark.parametrize("text, place, takes", [("retries: lots\n", "1:10", "0 to 100"),
                                                ("linger: soon\n", "1:9", "duration"),
                                                ("on-retry: never\n", "1:11", "unresolved"),
                                                ("retries: 1\nretries: 2\n", "2:1", "line 1")])
def test_wrong_value(suite, text, place, takes):
    (suite / "shard.yml").write_text(text)
    done = run(suite)
    assert done.returncode == 2
    assert "shard.yml:%s: " % place in done.stderr and takes in done.stderr


@pytest.mark.parametrize("args, env, said", [
    (["--servr", "unix:/x"], {}, "--server"),
    (["--retries", "x"], {}, "--retries"),
    ([], {"SHARD_RETRIES": "x"}, "SHARD_RETRIES"),
    (["--linger"], {}, "--linger"),
])
def test_wrong_flags_and_variables(suite, args, env, said):
    done = shard("run", *args, *([] if args == ["--linger"] else ["--", "true"]), cwd=suite, **env)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_unknown_subcommand(suite):
    done = shard("slwo", cwd=suite)
    assert done.returncode == 2 and "slow" in done.stderr


def test_good_files_are_taken(tmp_path, make_daemon, suite):
    """The files that the tests above break work when they are right."""
    daemon = make_daemon()
    (suite / "shard.yml").write_text("server: %s\nproject: other\nretries: 1\n" % daemon.address)
    done = subprocess.run([SHARD, "run", "--build", BUILD, "--", *PYTEST], env=clean_env(), cwd=str(suite), timeout=60)
    assert done.returncode == 0
    assert verdicts(daemon, env={"SHARD_PROJECT": "other"}) == {"test_a.py::test_one": "passed"}


# ---- suites without tests

NOTHING = {"test_a.py": "def no_test():\n    pass\n"}


@pytest.mark.parametrize("files, words, options, code", [
    (NOTHING, [], [], 5),
    (NOTHING, [], ["--allow-empty"], 0),
    (ONE, ["-k", "nothing_of_this_name"], [], 5),
    (ONE, ["-k", "nothing_of_this_name"], ["--allow-empty"], 0),
])
def test_no_tests(daemon, tmp_path, files, words, options, code):
    suite = make_suite(tmp_path, files)
    workers = start_workers(2, daemon, suite, args=options, command=[*PYTEST, *words])
    assert codes(workers) == [code, code], outputs(workers)
    waited = daemon.shard("wait", *options)
    assert waited.returncode == code, waited.stdout + waited.stderr


def test_empty_list_of_the_command_runner(daemon, tmp_path):
    for options, code in (([], 5), (["--allow-empty"], 0)):
        worker = Worker(daemon, tmp_path, build="b%d" % code, args=["--list", "true", *options], command=["true"])
        assert worker.wait() == code, worker.output()


# ---- collecting

def test_collection_error(daemon, tmp_path):
    """Nothing of a suite that cannot be collected passes: no worker, and not the build."""
    suite = make_suite(tmp_path, {"test_good.py": "def test_good():\n    pass\n",
                                  "test_bad.py": "import nothing_of_this_name\n"})
    workers = start_workers(2, daemon, suite)
    assert codes(workers) == [2, 2], outputs(workers)
    for worker in workers:
        assert "nothing_of_this_name" in worker.output()
        assert worker.ran() == []
    assert daemon.json("builds")[0]["state"] != "complete"


def test_usage_error_of_pytest(daemon, suite):
    worker = Worker(daemon, suite, command=[*PYTEST, "--no-such-option"])
    assert worker.wait() == 2, worker.output()
    assert "--no-such-option" in worker.output()


@pytest.mark.parametrize("command, options", [(["pytest-that-is-not-there", "-q"], ["--runner", "pytest"]),
                                              (["not-there-at-all", "{}"], ["--list", "echo a"])])
def test_unknown_test_command(daemon, suite, command, options):
    worker = Worker(daemon, suite, args=options, command=command)
    assert worker.wait() == 16, worker.output()
    assert re.search(r"cannot \w+ '%s': No such file" % command[0], worker.output()), worker.output()


def test_a_command_that_is_no_pytest(daemon, suite):
    worker = Worker(daemon, suite, args=["--runner", "pytest"], command=["sh", "-c", "exit 3"])
    assert worker.wait() == 16
    assert "SHARD_RUNNER_SOCK" in worker.output() and "exit status 3" in worker.output()


def test_unknown_runner(daemon, suite):
    worker = Worker(daemon, suite, args=["--runner", "pytset"])
    assert worker.wait() == 2
    assert "pytest" in worker.output()


# ---- two lists

def test_list_mismatch(daemon, tmp_path):
    """The worker with the other list says how it differs and ends 16; the first goes on."""
    suite = make_suite(tmp_path, {
        "conftest.py": "import os\ndef pytest_generate_tests(metafunc):\n"
                       "    metafunc.parametrize('i', os.environ['IDS'].split())\n",
        "test_a.py": "import os, time\ndef test_it(i):\n    while not os.path.exists(os.environ['GO']):\n"
                     "        time.sleep(0.01)\n"})
    go = tmp_path / "go"
    first = Worker(daemon, suite, node="0", env={"IDS": "a b c", "GO": str(go)})
    eventually(lambda: first.ran(), what="the first worker's first test")
    second = Worker(daemon, suite, node="1", env={"IDS": "a b \033[2J d", "GO": str(go)})
    assert second.wait() == 16, second.output()
    said = second.output()
    assert "- \"test_a.py::test_it[c]\"" in said and "+ \"test_a.py::test_it[d]\"" in said
    assert "test_it[a]" not in said and "\033" not in said
    assert re.search(r"other tests than .*node 0", said)
    assert first.running()
    go.touch()
    assert first.wait() == 0, first.output()
    assert verdicts(daemon) == {"test_a.py::test_it[%s]" % i: "passed" for i in "abc"}


def test_list_mismatch_of_many(daemon, tmp_path):
    """The difference is cut where nobody reads on, and counted."""
    suite = make_suite(tmp_path, {"test_a.py": "import os, pytest, time\n"
                                               "@pytest.mark.parametrize('i', range(int(os.environ['N'])))\n"
                                               "def test_it(i):\n    while not os.path.exists(os.environ['GO']):\n"
                                               "        time.sleep(0.01)\n"})
    go = tmp_path / "go"
    first = Worker(daemon, suite, node="0", env={"N": "500", "GO": str(go)})
    eventually(lambda: first.ran(), what="the first worker's first test")
    second = Worker(daemon, suite, node="1", env={"N": "100", "GO": str(go)})
    assert second.wait() == 16
    listed = [line for line in second.output().splitlines() if line.startswith("  - ")]
    assert len(listed) == 21 and "380 more" in listed[-1]
    go.touch()
    assert first.wait() == 0, first.output()


# ---- signals to a worker

@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_told_to_stop(daemon, tmp_path, signo):
    suite = make_suite(tmp_path, {"test_a.py": "import time\ndef test_a():\n    time.sleep(600)\n"})
    worker = Worker(daemon, suite)
    eventually(lambda: worker.ran(), what="its test")
    worker.signal(signo)
    assert worker.wait(30) == 128 + signo, worker.output()
