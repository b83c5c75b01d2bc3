"""The history, end to end: who teaches it, and what real workers' builds make of it."""
from shardlib import PROJECT, Worker, codes, make_suite

SUITE = {"list": "a\nb\n", "run.sh": "exit 0\n"}


def run_build(daemon, suite, build, branch="main", workers=1, args=(), **env):
    env = dict({"SHARD_COMMIT": build, "SHARD_BRANCH": branch}, **env)
    started = [Worker(daemon, suite, node=str(i), build=build, command=["sh", "run.sh", "{}"], env=env,
                      args=["--runner", "command", "--list-file", "list", *args]) for i in range(workers)]
    return codes(started)


def runs(daemon):
    return {row["test"]: row["runs"] for row in daemon.json("slow", "--project", PROJECT)}


def test_who_teaches(tmp_path, make_daemon):
    suite = make_suite(tmp_path, SUITE)
    daemon = make_daemon(protected_refs=["main", "release/*"])
    assert run_build(daemon, suite, "1", "feature") == [0]
    assert run_build(daemon, suite, "2", "main", args=["--untrusted"]) == [0]
    assert run_build(daemon, suite, "3", "main", SHARD_UNTRUSTED="yes") == [0]
    assert run_build(daemon, suite, "4", "") == [0]
    assert runs(daemon) == {}
    assert run_build(daemon, suite, "5", "main") == [0]
    assert run_build(daemon, suite, "6", "release/7") == [0]
    assert runs(daemon) == {"a": 2, "b": 2}
    assert len(daemon.json("builds")) == 6
