"""Everything that can be wrong between a worker and its server: each ends with the documented error and exit code. The
address, the token, the version, the files, the suite, the list, the disk, descriptors. Attacks on the wire are
in test_attacks.py."""
import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time

import pytest
from shardlib import (BUILD, PROJECT, PYTEST, SHARD, SHARDD, Daemon, Worker, attempts, clean_env, codes, eventually,
                      make_suite, outputs, start_workers, verdicts)
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


# ---- databases

def shardd_once(folder, **options):
    daemon = Daemon(folder, **options)
    daemon.start(ready=False)
    return daemon.process.wait(30), daemon.log()


def test_second_daemon_on_one_database(daemon, tmp_path):
    code, said = shardd_once(tmp_path, database=daemon.database)
    assert code == 16
    assert daemon.database in said and str(daemon.pid) in said, said
    assert daemon.answers()


def test_second_daemon_on_one_socket(daemon, tmp_path):
    code, said = shardd_once(tmp_path, listen=daemon.address)
    assert code == 16 and daemon.address in said and "another daemon" in said
    assert daemon.answers()


def test_no_database(tmp_path):
    path = tmp_path / "text.db"
    path.write_text("this is no database, whatever its name says\n" * 200)
    code, said = shardd_once(tmp_path, database=str(path))
    assert code == 16 and str(path) in said and "SQLite" in said


def test_torn_database(tmp_path, suite):
    """Bytes lost in the middle of the file are found and named; nothing is made up."""
    with Daemon(tmp_path) as daemon:
        assert Worker(daemon, suite).wait() == 0
        assert daemon.stop() == 0
        with open(daemon.database, "r+b") as file:
            file.truncate(8192)
        daemon.start(ready=False)
        assert daemon.process.wait(30) == 16
        assert daemon.database in daemon.log().splitlines()[-1]


def test_database_of_a_newer_release(tmp_path):
    with Daemon(tmp_path) as daemon:
        assert daemon.stop() == 0
        with contextlib.closing(sqlite3.connect(daemon.database)) as db:
            db.execute("PRAGMA user_version=9999")
        daemon.start(ready=False)
        assert daemon.process.wait(30) == 16
        assert daemon.database in daemon.log() and "9999" in daemon.log()


def test_database_of_another_program(tmp_path):
    path = tmp_path / "s.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE accounts (x)")
    before = path.read_bytes()
    code, said = shardd_once(tmp_path, database=str(path))
    assert code == 16 and str(path) in said and "another program" in said
    assert path.read_bytes() == before


def test_no_folder_for_the_database(tmp_path):
    code, said = shardd_once(tmp_path, database=str(tmp_path / "none" / "s.db"))
    assert code == 16 and str(tmp_path / "none") in said


def test_unreadable_token_file(tmp_path):
    code, said = shardd_once(tmp_path, token_file=str(tmp_path / "none"))
    assert code == 2 and str(tmp_path / "none") in said


# ---- no descriptors

def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptors(tmp_path, suite):
    """Out of descriptors the daemon waits without spinning, says so once, and goes on when there are some."""
    with Daemon(tmp_path, lease_ttl="60s", heartbeat="20s", hello_timeout="60s") as daemon:
        subprocess.run(["prlimit", "--pid", str(daemon.pid), "--nofile=48:48"], check=True)
        worker_suite = make_suite(tmp_path, {"test_a.py": "import os, time\ndef test_it():\n"
                                                          "    while not os.path.exists(os.environ['GO']):\n"
                                                          "        time.sleep(0.01)\n"}, name="held")
        go = tmp_path / "go"
        honest = Worker(daemon, worker_suite, env={"GO": str(go)})
        eventually(lambda: honest.ran(), what="the honest worker's test")
        crowd = []
        for _ in range(100):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(daemon.address[len("unix:"):])
            crowd.append(sock)
        eventually(lambda: "accept_rests" in daemon.log(), what="the daemon notices")
        before, began = cpu_seconds(daemon.pid), time.monotonic()
        go.touch()
        assert honest.wait() == 0, honest.output()
        while time.monotonic() - began < 1.5:  # the time over which its CPU is measured
            time.sleep(0.05)
        spent = (cpu_seconds(daemon.pid) - before) / (time.monotonic() - began)
        assert spent < 0.15, "it spins: %.0f %% of a CPU" % (100 * spent)
        log = daemon.log()
        assert log.count("accept_rests") == 1 + log.count("accept_resumes"), "said once each time"
        for sock in crowd:
            sock.close()
        after = Worker(daemon, suite, build="b2")
        assert after.wait() == 0, after.output()
        assert "accept_resumes" in daemon.log()


# ---- a full disk

@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB, in a mount namespace of its own that a sleeping process keeps. Needs root, or user namespaces; a
    machine that has neither cannot show this."""
    inner = tmp_path / "disk"
    inner.mkdir()
    script = 'mount -t tmpfs -o size=4m,mode=0777 none "$1" && echo up && exec sleep 600'
    flags = ["-m"] if os.geteuid() == 0 else ["-rm"]
    holder = subprocess.Popen(["unshare", *flags, "--propagation", "private", "sh", "-c", script, "sh", str(inner)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if holder.stdout.readline() != "up\n":
        why = holder.stderr.read()
        holder.wait()
        pytest.skip("NO TEST OF A FULL DISK: this machine lets us mount nothing: %s" % why.strip())
    yield Disk(holder.pid, inner)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    holder.stderr.close()


class Disk:
    def __init__(self, holder, inner):
        self.holder, self.inner = holder, inner

    def enter(self):
        """The words before a command that make it see the disk at `inner`."""
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        return ["nsenter", *user, "-m", "-t", str(self.holder), "--wd=/", "--"]

    def do(self, script):
        return subprocess.run([*self.enter(), "sh", "-c", script, "sh", str(self.inner)], check=False,
                              stderr=subprocess.DEVNULL).returncode

    def fill(self):
        """Takes all the room that is left, to the last page."""
        self.do('dd if=/dev/zero of="$1/filler" bs=4096 oflag=append conv=notrunc')

    def free(self):
        assert self.do('rm -f "$1/filler"') == 0


class DiskDaemon(Daemon):
    def __init__(self, disk, tmp_path, **options):
        super().__init__(tmp_path, database=str(disk.inner / "s.db"), ballast="0", **options)
        self.disk = disk

    def argv(self):
        return [*self.disk.enter(), *super().argv()]


TALKATIVE = {"test_a.py": """
    import os, time, pytest
    @pytest.mark.parametrize('i', range(6))
    def test_it(i):
        if i == 0:
            open(os.environ['STARTED'], 'w').close()
        while not os.path.exists(os.environ['GO']):
            time.sleep(0.01)
        print('x' * 50000)
        assert False
"""}


@pytest.fixture
def on_small_disk(small_disk, tmp_path):
    """A daemon on a disk that is full by the time the first result comes, and how to start a worker."""
    daemon = DiskDaemon(small_disk, tmp_path, lease_ttl="3s", heartbeat="500ms").start()
    suite, go, started = make_suite(tmp_path, TALKATIVE, name="talkative"), tmp_path / "go", tmp_path / "started"

    def begin(*args):
        worker = Worker(daemon, suite, args=args, env={"GO": str(go), "STARTED": str(started)})
        eventually(started.exists, what="the first test")
        small_disk.fill()
        go.touch()
        return worker
    return daemon, small_disk, begin


def test_full_disk_is_outlived(on_small_disk):
    """The daemon refuses what it cannot keep, the worker keeps it; with room again the build ends as if nothing was."""
    daemon, disk, begin = on_small_disk
    worker = begin()
    eventually(lambda: "the server's disk is full" in worker.output(), what="the worker hears of it")
    assert worker.output().count("disk is full") == 1, "said once"
    with Wire(daemon.address) as wire:
        wire.hello(role=pb.ROLE_ADMIN)
        wire.send(seq=1, query=pb.Query(kind=pb.QUERY_SERVER))
        assert b"full: results are refused" in list(wire.expect("rows").rows.cell)
    assert daemon.running() and worker.running()
    assert "store_full" in daemon.log()
    disk.free()
    assert worker.wait() == 1, worker.output()
    assert verdicts(daemon) == {"test_a.py::test_it[%d]" % i: "failed" for i in range(6)}
    assert re.search(r"store_full over=1", daemon.log())


def test_full_disk_for_too_long(on_small_disk):
    """The worker's patience ends: 16, and the results that nobody has are named."""
    daemon, _, begin = on_small_disk
    worker = begin("--server-timeout", "1s")
    assert worker.wait() == 16, worker.output()
    said = worker.output()
    assert "its disk is full" in said and re.search(r"[1-6] results could not be handed over", said)
    assert "not handed over: test_a.py::test_it[0]" in said
    assert daemon.running()


def test_full_disk_on_the_wire(small_disk, tmp_path):
    """ERROR_DISK names the refused message; nothing behind it is taken before it: an Ack speaks for all before."""
    daemon = DiskDaemon(small_disk, tmp_path).start()
    ids = ["t%03d" % i for i in range(200)]
    with Wire(daemon.address) as wire:
        wire.hello()
        assert wire.list(ids).want == pb.LIST_OK
        lease, text = wire.lease().lease, {0: b"x" * 60000}
        small_disk.fill()
        stuck = 0
        while not stuck:  # what finds room in the log that is there already is acknowledged as ever
            sent = wire.results(lease.lease, [lease.test[wire.seq]], status=pb.STATUS_FAILED, texts=text)
            stuck = 0 if settled(wire, sent) else sent
        wire.results(lease.lease, [lease.test[stuck]])
        error = wire.expect("error", skip=("ack",))
        assert (error.error.code, error.seq) == (pb.ERROR_DISK, stuck + 1)
        small_disk.free()
        while not settled(wire, stuck):
            time.sleep(0.02)
        wire.results(lease.lease, [lease.test[stuck + 1]])
        error = wire.expect("error", skip=("ack",))
        assert (error.error.code, error.seq) == (pb.ERROR_DISK, stuck + 2), "the message before it comes first"
        for seq in (stuck + 1, stuck + 2):
            wire.results(lease.lease, [lease.test[seq - 1]], seq=seq)
        wire.wait_ack(stuck + 2)
    found = attempts(daemon, "1", env={"SHARD_PROJECT": "wire"})
    statuses = {name: rows[-1]["status"] for name, rows in found.items()}
    assert sorted(statuses.values(), key=str).count("failed") == stuck
    assert sorted(statuses.values(), key=str).count("passed") == 2


def settled(wire, seq):
    """Asks by heartbeat until Results `seq` are acknowledged (True) or the disk is said to be full (False)."""
    while True:
        wire.send(heartbeat={})
        made = wire.expect("ack", "error")
        if made.WhichOneof("body") == "error":
            assert (made.error.code, made.seq) == (pb.ERROR_DISK, 0)
            assert wire.expect("ack").ack.seq < seq
            return False
        if made.ack.seq >= seq:
            return True


# ---- signals to a worker

@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_told_to_stop(daemon, tmp_path, signo):
    suite = make_suite(tmp_path, {"test_a.py": "import time\ndef test_a():\n    time.sleep(600)\n"})
    worker = Worker(daemon, suite)
    eventually(lambda: worker.ran(), what="its test")
    worker.signal(signo)
    assert worker.wait(30) == 128 + signo, worker.output()


def test_tools_that_these_tests_need():
    assert all(shutil.which(tool) for tool in ("prlimit", "unshare", "nsenter"))
