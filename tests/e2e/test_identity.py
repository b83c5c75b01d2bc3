"""A build is one commit and one environment: a worker that differs ends with 16 before it runs anything, and is told
both sides; a mixture has to be asked for. Lists are compared in test_one_list.py."""
import pytest
from shardlib import (BARRIER, BUILD, PYTEST, Worker, barrier, codes, eventually, make_suite, outputs, run_workers,
                      verdicts)

SUITE = {"test_a.py": "def test_one(): pass\ndef test_two(): pass\n"}
LAZY = ["--collect", "lazy"]
# As an interpreter tells it; plugins read all of it.
INTERPRETER = """
import os, sys
sys.version = os.environ['E2E_VERSION'] + ' (main, Nov  1 2026, 10:00:00) [GCC 12.2.0]'
"""
MIXED = ["--allow-mixed", "commit,environment"]


def run(daemon, suite, *args, node="0", **options):
    worker = Worker(daemon, suite, node=node, args=args, **options)
    worker.wait()
    return worker


def code(worker):
    return worker.process.returncode


def refused(worker, *parts):
    """Whether it ended with 16 before any test, and said all of this."""
    assert code(worker) == 16 and worker.ran() == [], worker.output()
    missing = [part for part in parts if part not in worker.output()]
    assert not missing, worker.output()
    return True


# ---- commits

@pytest.mark.parametrize("args", [[], LAZY], ids=["full", "lazy"])
def test_a_green_build_hides_no_other_commit(tmp_path, daemon, args):
    suite = make_suite(tmp_path, SUITE)
    assert code(run(daemon, suite, "--build", "77", "--commit", "aaaa", *args)) == 0
    broken = make_suite(tmp_path, {"test_a.py": "def test_one(): assert 0\ndef test_two(): pass\n"}, "broken")
    other = run(daemon, broken, "--build", "77", "--commit", "bbbb", *args, node="1")
    assert refused(other, 'build "77" is of commit "aaaa"', 'this worker of commit "bbbb"', "--build",
                   "--allow-mixed commit")
    assert daemon.shard("wait", "--build", "77").returncode == 0


def test_a_red_build_is_not_mended_by_another_commit(tmp_path, daemon):
    broken = make_suite(tmp_path, {"test_a.py": "def test_one(): assert 0\ndef test_two(): pass\n"}, "broken")
    assert code(run(daemon, broken, "--commit", "aaaa", "--attempt", "1")) == 1
    mended = run(daemon, make_suite(tmp_path, SUITE), "--commit", "bbbb", "--attempt", "2", "--retried", "yes")
    assert refused(mended, '"aaaa"', '"bbbb"')
    assert daemon.shard("wait").returncode == 1


def test_a_short_name_and_none_are_compatible(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    whole = "4f1d2c3b4a59687786950a1b2c3d4e5f60718293"
    for node, args in enumerate([[], ["--commit", whole[:9].upper()], ["--commit", whole], []]):
        assert code(run(daemon, suite, *args, node=str(node))) == 0
    assert refused(run(daemon, suite, "--commit", whole[:8] + "0", node="9"), whole[:9].upper(), whole[:8] + "0")
    assert refused(run(daemon, suite, "--commit", whole[:6], node="9"), '"%s"' % whole[:6])


def test_the_commit_outlives_the_daemon(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    assert code(run(daemon, suite)) == 0
    assert code(run(daemon, suite, "--commit", "aaaa", node="1")) == 0  # the first that is known
    daemon.restart()
    assert refused(run(daemon, suite, "--commit", "bbbb", node="2"), '"aaaa"', '"bbbb"')


def test_a_mixture_of_commits_is_asked_for_and_shown(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    assert code(run(daemon, suite, "--commit", "aaaa")) == 0
    assert daemon.json("build")["build"][0]["mixed"] is None
    assert code(run(daemon, suite, "--commit", "bbbb", "--allow-mixed", "commit", node="1")) == 0
    daemon.restart()
    assert code(run(daemon, suite, "--commit", "cccc", node="2")) == 0
    assert daemon.json("build")["build"][0]["mixed"] == "commit"
    bad = run(daemon, suite, "--allow-mixed", "comit")
    assert code(bad) == 2 and "commit, environment or both" in bad.output()


# ---- environments

def test_a_worker_under_another_toxenv_is_refused(tmp_path, daemon):
    suite = make_suite(tmp_path, dict(SUITE, **{"conftest.py": BARRIER}))
    first = Worker(daemon, suite, node="0", env=dict(barrier(tmp_path, 2), TOXENV="py311"))
    eventually(lambda: daemon.shard("build", "--json").returncode == 0, what="the first worker is known")
    other = run(daemon, suite, node="1", env={"TOXENV": "py312"})
    assert refused(other, 'TOXENV: "py312" here, "py311" in the build', "--variant", "--allow-mixed environment")
    none = run(daemon, suite, node="1")
    assert refused(none, 'TOXENV: not set here, "py311" in the build')
    first.kill()


@pytest.mark.parametrize("args", [[], LAZY], ids=["full", "lazy"])
def test_another_interpreter_is_refused_before_it_runs(tmp_path, daemon, args):
    # What tells is the test process, wherever that runs.
    suite = make_suite(tmp_path, dict(SUITE, **{"conftest.py": INTERPRETER}))
    first = run(daemon, suite, *args, env={"E2E_VERSION": "3.11.2"})
    assert code(first) == 0, first.output()
    other = run(daemon, suite, *args, node="1", env={"E2E_VERSION": "3.12.1"})
    assert refused(other, 'python: "cpython 3.12.1" here, "cpython 3.11.2" in the build')
    assert daemon.shard("wait").returncode == 0
    mixed = run(daemon, suite, *args, *MIXED, node="1", env={"E2E_VERSION": "3.12.1"})
    assert code(mixed) == 0, mixed.output()


def test_a_rerun_under_another_interpreter_mends_nothing(tmp_path, make_daemon):
    """Failing tests are open again when it is refused: the build stays red until one of its kind ran them."""
    daemon = make_daemon(idle_timeout="1s")
    red = dict(SUITE, **{"conftest.py": INTERPRETER, "test_a.py": """
        import os

        def test_one():
            assert "FIXED" in os.environ

        def test_two():
            pass
    """})
    suite, env = make_suite(tmp_path, red), {"E2E_VERSION": "3.11.2"}
    first = run(daemon, suite, "--attempt", "1", env=env)
    assert code(first) == 1, first.output()
    other = run(daemon, suite, "--attempt", "2", "--retried", "yes",
                env={"E2E_VERSION": "3.12.1", "FIXED": "1"})
    assert refused(other, "cpython 3.12.1")
    assert daemon.shard("wait").returncode == 16
    assert code(run(daemon, suite, "--attempt", "3", "--retried", "yes", env=dict(env, FIXED="1"))) == 0
    assert daemon.shard("wait").returncode == 0


def test_named_variables_and_the_command_are_compared(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    key = ["--env-key", "DB"]
    assert code(run(daemon, suite, *key, env={"DB": "postgres"})) == 0
    other = run(daemon, suite, *key, node="1", env={"DB": "mysql"})
    assert refused(other, 'DB: "mysql" here, "postgres" in the build')
    assert refused(run(daemon, suite, *key, node="1", env={"DB": "postgres"}, command=PYTEST + ["-W", "error"]),
                   'command: ', '-W error" here')
    assert code(run(daemon, suite, *key, *MIXED, node="1", env={"DB": "mysql"})) == 0
    build = daemon.json("build")["build"][0]
    assert build["mixed"] == "commit, environment" and "DB=postgres" in build["environment"]


def test_what_differs_between_nodes_is_not_the_environment(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    jobs = [Worker(daemon, suite, node=str(i), command=PYTEST + [
        "--junitxml=out/j-%d.xml" % (i + 1), "-o", "cache_dir=%s/c%d" % (tmp_path, i), "--basetemp",
        "%s/b%d" % (tmp_path, i), "--rootdir=%s" % suite, "-p", "no:x%d" % i, "%s/test_a.py" % suite])
        for i in range(3)]
    assert codes(jobs) == [0, 0, 0], outputs(jobs)


def test_long_values_are_compared_to_their_end(tmp_path, daemon):
    """What differs stands behind the bytes that a message takes."""
    suite = make_suite(tmp_path, {"a.sh": "exit 0\n", "b.sh": "exit 0\n"})
    options = ["--list", "ls *.sh", "--env-key", "FLAGS"]
    flags = "-x 2 " * 2000

    def one(node, flags, tail):
        return run(daemon, suite, *options, command=["sh", "-c", ": 2>&1; " * 1000 + 'sh "$1" # ' + tail, "sh", "{}"],
                   env={"FLAGS": flags, "SHARD_TOTAL": "3"}, node=node)

    assert code(one("0", flags + "11", "jdk11")) == 0
    assert code(one("2", flags + "11", "jdk11")) == 0
    assert refused(one("1", flags + "17", "jdk11"), "FLAGS: ")
    assert refused(one("1", flags + "11", "jdk17"), "command: ")


def test_too_many_names_to_compare_are_an_error(tmp_path, daemon):
    suite = make_suite(tmp_path, {"a.sh": "exit 0\n"})
    options = ["--list", "ls *.sh", "--env-key"]
    names = ["V%02d" % i for i in range(90)]
    other = run(daemon, suite, *options, ",".join(names[:25]), command=["sh"])
    assert code(other) == 2 and "--env-key: too many names, from 'V24' on" in other.output(), other.output()
    other = run(daemon, suite, *options, "A B", command=["sh"])
    assert code(other) == 2 and "--env-key: 'A B' is not the name of a variable" in other.output(), other.output()
    for i in range(2):
        assert code(run(daemon, suite, *options, ",".join(names[24 * i:24 * i + 24]), command=["sh"])) == 0
    assert refused(run(daemon, suite, *options, ",".join(names[48:72]), command=["sh"]), "V54: not known in the build",
                   "64 names (--env-key)")


def test_a_matrix_over_the_programs_folder_is_refused(tmp_path, daemon):
    suite = make_suite(tmp_path, {"a.sh": "exit 0\n", "b.sh": "exit 0\n"})
    java = [tmp_path / version / "bin/java" for version in ("jdk11", "jdk17")]
    for program in java:
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\nexec sh \"$1\"\n")
        program.chmod(0o755)
    for i, words in enumerate([["%s", "{}"], ["env", "A=1", "%s", "{}"], ["sh", "-c", 'exec %s "$1"', "sh", "{}"]]):
        first, other = ([word.replace("%s", str(program)) for word in words] for program in java)
        build = dict(build="b%d" % i)
        assert code(run(daemon, suite, "--list", "ls *.sh", command=first, **build)) == 0
        assert refused(run(daemon, suite, "--list", "ls *.sh", command=other, node="1", **build), "jdk17/bin/java",
                       "jdk11/bin/java")


def test_checkouts_at_different_places_are_one_environment(tmp_path, daemon):
    files = {"a.sh": "exit 0\n", "b.sh": "exit 0\n", "bin/each": "#!/bin/sh\nexec sh \"$1\"\n"}
    jobs = []
    for i in range(2):
        (tmp_path / ("machine-%d" % i)).mkdir()
        suite = make_suite(tmp_path / ("machine-%d" % i), files)
        (suite / "bin/each").chmod(0o755)
        jobs.append(run(daemon, suite, "--list", "ls *.sh", command=[str(suite / "bin/each"), "{}"], node=str(i)))
    assert codes(jobs) == [0, 0], outputs(jobs)


def test_command_runners_are_compared_too(tmp_path, daemon):
    suite = make_suite(tmp_path, {"a.sh": "exit 0\n", "b.sh": "exit 0\n"})
    listed = ["--list", "ls *.sh"]
    assert code(run(daemon, suite, *listed, command=["sh"])) == 0
    assert refused(run(daemon, suite, *listed, node="1", command=["bash"]), 'command: "bash" here, "sh" in the build')
    other = run(daemon, suite, "--list", "ls a.sh", node="1", command=["sh"])
    assert refused(other, 'list: "ls a.sh" here')
    other = run(daemon, suite, *listed, node="1", command=["sh", "--", "pytest"], env={"SHARD_RUNNER": "command"})
    assert refused(other, "command: ")


def test_the_environment_outlives_the_daemon(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    assert code(run(daemon, suite, env={"TOXENV": "py311"})) == 0
    daemon.restart()
    assert refused(run(daemon, suite, node="1", env={"TOXENV": "py312"}), '"py311" in the build')


def test_all_workers_alike_share_a_build(tmp_path, daemon):
    suite = make_suite(tmp_path, SUITE)
    env = {"TOXENV": "py311", "NOXSESSION": "t"}
    assert codes(run_workers(3, daemon, suite, env=env)) == [0, 0, 0]
    assert set(verdicts(daemon, BUILD).values()) == {"passed"}
