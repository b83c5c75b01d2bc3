"""What the tests of failing calls share: a suite of forty quick tests, its workers, and the shim's variables."""
import errno

import shardlib

SHIM = str(shardlib.BUILD_DIR / "chaos/shim.so")
SHORT = {"lease_ttl": "600ms", "heartbeat": "200ms"}
IDS = ["t%02d" % i for i in range(40)]
SCRIPT = 'n=0\nfor id; do n=$((n + 1)); sleep 0.005; echo "ok $n - $id"; done\necho "1..$n"\n'
SUITE = {"ids": "\n".join(IDS) + "\n", "tests.sh": SCRIPT}
COMMAND = ["sh", "tests.sh"]
ARGS = ["--runner", "command", "--results", "tap", "--list-file", "ids"]


def shim(program, call, at=0, times=1, number=errno.EIO, **more):
    """Variables under which the call number `at` of that program, and `times` - 1 more, fail with `number`."""
    return dict(LD_PRELOAD=SHIM, SHIM_PROGRAM=program, SHIM_CALL=call, SHIM_AT=str(at), SHIM_TIMES=str(times),
                SHIM_ERRNO=str(number), **{key: str(value) for key, value in more.items()})


def shimmed_daemon(tmp_path, **fault):
    """Started with a fault, on a database that was made without; `healthy` is the environment without it."""
    daemon = shardlib.Daemon(tmp_path, **SHORT)
    with daemon:
        assert daemon.stop() == 0
    daemon.healthy, daemon.env = daemon.env, dict(daemon.env, **fault)
    return daemon.start()


def workers_of(daemon, suite, n=2, **more):
    return shardlib.start_workers(n, daemon, suite, args=ARGS, command=COMMAND, **more)
