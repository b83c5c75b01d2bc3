"""The daemon under systemd: the units are sound, and what systemd and shardd say to each other is what both expect. The
second half plays systemd: it passes listening sockets, hears notifications, and reloads."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest
from shardlib import ROOT, SHARDD, clean_env, eventually
from wire import Wire, WireClosed

UNITS = os.path.join(ROOT, "systemd")
TOKEN = "a-token-of-more-than-16-characters"
PATIENCE = 20


# ---- the units

@pytest.fixture
def units(tmp_path):
    """The units as they would be installed, with the binary where it is now."""
    for name in ("shardd.service", "shardd.socket"):
        shutil.copy(os.path.join(UNITS, name), tmp_path)
    service = tmp_path / "shardd.service"
    text = service.read_text()
    assert text.count("ExecStart=/usr/local/bin/shardd\n") == 1
    service.write_text(text.replace("/usr/local/bin/shardd", SHARDD))
    return tmp_path


def analyze(*words):
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True)


def test_units_are_clean(units):
    done = analyze("verify", "--man=no", units / "shardd.service", units / "shardd.socket")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_would_find_a_wrong_key(units):
    service = units / "shardd.service"
    service.write_text(service.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    done = analyze("verify", "--man=no", service)
    assert "WatchdogSecs" in done.stderr


def test_exposure(units):
    done = analyze("security", "--offline=yes", units / "shardd.service")
    exposure = re.search(r"Overall exposure level for shardd.service: ([0-9.]+)", done.stdout)
    assert exposure, done.stdout + done.stderr
    assert float(exposure[1]) <= 0.3


def test_units_say_what_the_daemon_needs():
    with open(os.path.join(UNITS, "shardd.service")) as file:
        service = file.read().splitlines()
    for line in ("Type=notify", "WatchdogSec=30s", "User=shardd", "StateDirectory=shardd", "PrivateNetwork=yes",
                 "ExecReload=/bin/kill -HUP $MAINPID", "RestartPreventExitStatus=2"):
        assert line in service
    with open(os.path.join(UNITS, "shardd.socket")) as file:
        assert "ListenStream=/run/shardd/shardd.sock" in file.read().splitlines()


def test_sysusers_makes_the_user():
    path = os.path.join(UNITS, "shardd.sysusers")
    done = subprocess.run(["systemd-sysusers", "--dry-run", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(path) as file:
        assert [line.split()[:2] for line in file if not line.startswith("#")] == [["u", "shardd"]]


# ---- playing systemd

class Played:
    """A shardd started as systemd would."""

    def __init__(self, tmp_path, sockets=(), watchdog_us=0, words=()):
        self.notify_path = str(tmp_path / "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.notify_path)
        self.notify.settimeout(PATIENCE)
        self.heard = []
        self.log_path = tmp_path / "log"
        env = clean_env(NOTIFY_SOCKET=self.notify_path)
        if watchdog_us:
            env["WATCHDOG_USEC"] = str(watchdog_us)
        argv = [SHARDD, "--database", str(tmp_path / "s.db"), "--ballast", "0", *map(str, words)]
        if sockets:
            env["LISTEN_FDS"] = str(len(sockets))
            argv = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *argv]
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen(argv, env=env, stderr=log, stdout=log, stdin=subprocess.DEVNULL,
                                         pass_fds=range(3, 3 + len(sockets)),
                                         preexec_fn=lambda: self._hand_over(sockets))

    @staticmethod
    def _hand_over(sockets):
        held = [os.dup(one.fileno()) for one in sockets]  # high numbers first, so that none is written over
        held = [os.dup2(fd, 100 + i) for i, fd in enumerate(held)]
        for i, fd in enumerate(held):
            os.dup2(fd, 3 + i)

    def next(self, key):
        """The next notification that has `key`, as a dict; those in between are kept in `heard`."""
        while True:
            words = dict(line.split("=", 1) for line in self.notify.recv(4096).decode().splitlines())
            self.heard.append(words)
            if key in words:
                return words

    def log(self):
        return self.log_path.read_text()

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        return self.proc.wait(PATIENCE)

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.notify.close()


@pytest.fixture
def played(tmp_path):
    with contextlib.ExitStack() as stack:
        def start(**options):
            one = Played(tmp_path, **options)
            stack.callback(one.close)
            return one
        yield start


def listening_unix(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    sock.listen(64)
    return sock


def listening_tcp(host):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((host, 0))
    sock.listen(64)
    return sock


def may_come_in(address, token=""):
    try:
        with Wire(address) as wire:
            wire.hello(expect=None, token=token)
            return wire.expect("welcome", "error").WhichOneof("body") == "welcome"
    except (WireClosed, ConnectionError):
        return False


def test_a_start_that_checks_the_database_asks_for_time(tmp_path, played):
    """After a kill the whole file is read before READY: systemd hears that it goes on, before its own limit."""
    words = ["--listen", "unix:%s/s" % tmp_path]
    first = played(words=words)
    first.next("READY")
    first.close()  # SIGKILL
    os.unlink(first.notify_path)
    second = played(words=words)
    asked = second.next("EXTEND_TIMEOUT_USEC")
    assert int(asked["EXTEND_TIMEOUT_USEC"]) >= 60000000 and "database" in asked["STATUS"]
    assert all("READY" not in words for words in second.heard)
    second.next("READY")
    assert "event=store_check" in second.log()
    assert second.stop() == 0


def test_sockets_are_taken_over(tmp_path, played):
    passed = [listening_unix(tmp_path / "a.sock"), listening_unix(tmp_path / "b.sock"), listening_tcp("127.0.0.1")]
    port = passed[2].getsockname()[1]
    waiting = Wire("unix:%s/a.sock" % tmp_path)  # connects before there is a daemon, as socket activation has it
    waiting.hello(expect=None, build="early")
    shardd = played(sockets=passed, words=["--listen", "unix:%s/not-this.sock" % tmp_path])
    assert shardd.next("READY") == {"READY": "1"}
    with waiting:
        assert waiting.expect("welcome").welcome.worker == 0
    with Wire("unix:%s/b.sock" % tmp_path) as wire:
        assert wire.hello(build="b").version == 1
    with Wire("tcp://127.0.0.1:%d" % port) as wire:
        assert wire.hello(build="c").version == 1
    assert not (tmp_path / "not-this.sock").exists(), "what systemd passes replaces `listen`"
    assert shardd.stop() == 0
    assert (tmp_path / "a.sock").exists(), "the socket is systemd's to remove"
    for one in passed:
        one.close()


def test_an_exposed_passed_socket_needs_tokens(tmp_path, played):
    with contextlib.closing(listening_tcp("0.0.0.0")) as passed:
        shardd = played(sockets=[passed])
        assert shardd.proc.wait(PATIENCE) == 2
        assert "token-file" in shardd.log()


def test_a_datagram_socket_is_refused(tmp_path, played):
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as passed:
        passed.bind(str(tmp_path / "d.sock"))
        shardd = played(sockets=[passed])
        assert shardd.proc.wait(PATIENCE) not in (0, None)
        assert "ListenStream" in shardd.log()


def test_ready_comes_when_connections_are_served(tmp_path, played):
    shardd = played(words=["--listen", "unix:%s/s" % tmp_path])
    shardd.next("READY")
    with Wire("unix:%s/s" % tmp_path) as wire:
        wire.hello()
    assert shardd.stop() == 0
    assert shardd.next("STOPPING") == {"STOPPING": "1"}


def test_the_watchdog_is_fed(tmp_path, played):
    shardd = played(watchdog_us=1500000, words=["--listen", "unix:%s/s" % tmp_path])
    shardd.next("READY")
    shardd.notify.settimeout(1.5)  # as systemd would: later than that, and the daemon is killed
    for _ in range(3):
        assert shardd.next("WATCHDOG") == {"WATCHDOG": "1"}


def test_without_a_watchdog_nothing_is_said(tmp_path, played):
    shardd = played(words=["--listen", "unix:%s/s" % tmp_path])
    shardd.next("READY")
    shardd.stop()
    shardd.next("STOPPING")
    assert not any("WATCHDOG" in words for words in shardd.heard)


# ---- reload

def reload(shardd):
    """SIGHUP, then what systemd waits for: RELOADING with the time, then READY."""
    shardd.proc.send_signal(signal.SIGHUP)
    reloading = shardd.next("RELOADING")
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert shardd.next("READY") == {"READY": "1"}


@pytest.fixture
def served(tmp_path, played):
    """With a token file and a TCP address, where tokens count for everybody."""
    tokens, config = tmp_path / "tokens", tmp_path / "shardd.yml"
    tokens.write_text(TOKEN + "\n")
    config.write_text("token-file: %s\nlisten: [\"tcp://127.0.0.1:0\"]\nlease-ttl: 15s\n" % tokens)
    shardd = played(words=["--config", config])
    shardd.next("READY")
    address = eventually(lambda: re.search(r"listening address=(\S+)", shardd.log()),
                         what="the address in the log")
    return shardd, address[1], tokens, config


def test_tokens_are_read_again(served):
    shardd, address, tokens, _ = served
    other = TOKEN.replace("a-", "another-")
    assert may_come_in(address, TOKEN) and not may_come_in(address, other)
    tokens.write_text("# rotated\n%s\n" % other)
    reload(shardd)
    assert may_come_in(address, other) and not may_come_in(address, TOKEN)


def test_a_connection_outlives_its_token(served):
    shardd, address, tokens, _ = served
    with Wire(address) as wire:
        wire.hello(token=TOKEN)
        tokens.write_text("%s-new\n" % TOKEN)
        reload(shardd)
        wire.send(heartbeat={})
        assert wire.expect("ack").ack.seq == 0


@pytest.mark.parametrize("text", ["", "short\n", "has a space in its middle\n"])
def test_a_bad_token_file_keeps_the_old(served, text):
    shardd, address, tokens, _ = served
    tokens.write_text(text)
    reload(shardd)
    assert may_come_in(address, TOKEN)
    assert "result=kept" in shardd.log() and str(tokens) in shardd.log()
    assert text.strip() == "" or text.strip() not in shardd.log(), "tokens never reach the log"


def test_a_missing_token_file_keeps_the_old(served):
    shardd, address, tokens, _ = served
    tokens.unlink()
    reload(shardd)
    assert may_come_in(address, TOKEN) and not may_come_in(address, "")


@pytest.mark.parametrize("text, said", [("lease-ttl: [1\n", "shardd.yml:"), ("lease-tlt: 5s\n", "lease-ttl"),
                                        ("lease-ttl: soon\n", "lease-ttl")])
def test_a_bad_file_keeps_the_old_settings(served, text, said):
    shardd, address, _, config = served
    config.write_text(text)
    reload(shardd)
    assert may_come_in(address, TOKEN)
    kept = [line for line in shardd.log().splitlines() if "result=kept" in line]
    assert len(kept) == 1 and said in kept[0]
    with Wire(address) as wire:
        assert wire.hello(token=TOKEN).lease_ttl_us == 15000000


def test_new_settings_count(served):
    shardd, address, tokens, config = served
    config.write_text("token-file: %s\nlisten: [\"tcp://127.0.0.1:0\"]\nlease-ttl: 30s\nmax-builds: 7\n" % tokens)
    reload(shardd)
    with Wire(address) as wire:
        assert wire.hello(token=TOKEN).lease_ttl_us == 30000000
    assert re.search(r'needs_restart="?max-builds', shardd.log())
