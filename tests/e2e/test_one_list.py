"""A build is one list: a worker whose list differs ends with 16, also where lists are not collected (--collect lazy, a
command runner behind the first job), in re-runs, and on builds that have ended."""
import pytest

from shardlib import Worker, make_suite, verdicts

ONE = {"test_a.py": "def test_one(): pass\n", "test_b.py": "def test_two(): pass\n"}
MORE = dict(ONE, **{"test_c.py": "def test_three(): assert 0\n"})
LESS = {"test_a.py": "def test_one(): pass\n"}
OTHER = dict(ONE, **{"test_b.py": "def test_two(): pass\ndef test_more(): pass\n"})
LAZY = ["--collect", "lazy"]


def run(daemon, suite, *args, node="0", **options):
    worker = Worker(daemon, suite, node=node, args=args, **options)
    worker.wait()
    return worker


def differs(worker):
    assert worker.process.returncode == 16 and worker.ran() == [], worker.output()
    assert "other tests than the build's first" in worker.output()
    return True


@pytest.mark.parametrize("args", [[], LAZY], ids=["full", "lazy"])
@pytest.mark.parametrize("files", [MORE, LESS, OTHER], ids=["more", "less", "other"])
def test_an_ended_build_with_another_list(tmp_path, daemon, args, files):
    first = run(daemon, make_suite(tmp_path, ONE), *args)
    assert first.process.returncode == 0, first.output()
    other = make_suite(tmp_path, files, "other")
    assert differs(run(daemon, other, *args, node="1"))
    daemon.restart()
    assert differs(run(daemon, other, *args, "--attempt", "2", "--retried", "yes"))
    assert set(verdicts(daemon).values()) == {"passed"}


def test_a_red_build_is_not_mended_by_another_list(tmp_path, make_daemon):
    daemon = make_daemon(idle_timeout="1s")
    red = dict(ONE, **{"test_a.py": "def test_one(): assert 0\n"})
    assert run(daemon, make_suite(tmp_path, red), *LAZY, "--attempt", "1").process.returncode == 1
    assert differs(run(daemon, make_suite(tmp_path, LESS, "less"), *LAZY, "--attempt", "2", "--retried", "yes"))
    assert differs(run(daemon, make_suite(tmp_path, OTHER, "other"), node="1"))  # the failures are not its own
    assert daemon.shard("wait").returncode != 0


def test_lazy_workers_alike_do_not_collect(tmp_path, daemon):
    suite = make_suite(tmp_path, ONE)
    assert run(daemon, suite, *LAZY).process.returncode == 0
    daemon.restart()
    again = run(daemon, suite, *LAZY, node="1")
    assert again.process.returncode == 0 and "collected" not in again.output().replace("collected 0 items", "")


def test_files_that_differ_without_another_list_are_collected(tmp_path, daemon):
    assert run(daemon, make_suite(tmp_path, ONE), *LAZY).process.returncode == 0
    same = dict(ONE, **{"test_a.py": "# of no consequence\ndef test_one(): pass\n"})
    again = run(daemon, make_suite(tmp_path, same, "same"), *LAZY, node="1")
    assert again.process.returncode == 0, again.output()
    assert "shard: collected 2 tests" in again.output()


@pytest.mark.parametrize("commit", [[], ["--commit", "4f1d2c3b"]], ids=["no-commit", "same-commit"])
def test_command_runners_are_compared(tmp_path, daemon, commit):
    suite = make_suite(tmp_path, {"a.sh": "exit 0\n", "b.sh": "exit 0\n"})
    other = make_suite(tmp_path, {"a.sh": "exit 0\n", "b.sh": "exit 0\n", "c.sh": "exit 1\n"}, "other")
    args = ["--list", "ls *.sh", *commit]
    assert run(daemon, suite, *args, command=["sh"]).process.returncode == 0
    assert differs(run(daemon, other, *args, node="1", command=["sh"]))
    assert run(daemon, suite, *args, node="2", command=["sh"]).process.returncode == 0


def test_a_list_in_a_file_is_always_compared(tmp_path, daemon):
    suite = make_suite(tmp_path, {"a.sh": "exit 0\n", "b.sh": "exit 0\n", "all": "a.sh\nb.sh\n"})
    args = ["--list-file", "all", "--commit", "4f1d2c3b"]
    assert run(daemon, suite, *args, command=["sh"]).process.returncode == 0
    (suite / "all").write_text("a.sh\n")
    assert differs(run(daemon, suite, *args, node="1", command=["sh"]))
