"""Groups, tokens, serial and exclusive tests over all workers of a build, and what goes first."""
import json
import re
import subprocess
from collections import defaultdict

import pytest

from shardlib import (BARRIER, Worker, barrier, codes, eventually, make_suite, outputs, run_workers, start_workers,
                      verdicts)

# Each test notes when it began and ended, with the worker that ran it. Machine-wide monotonic clock.
NOTE = '''
import contextlib, json, os, time

@contextlib.contextmanager
def noted(name):
    begin = time.monotonic()
    yield
    fd = os.open(os.environ["E2E_SPANS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    line = dict(name=name, node=os.environ["SHARD_NODE"], begin=begin, end=time.monotonic())
    os.write(fd, (json.dumps(line) + "\\n").encode())
    os.close(fd)
'''
HEAD = "import time\nimport pytest\nfrom note import noted\n"


def suite_of(tmp_path, files):
    ini = "[pytest]\nmarkers =\n    xdist_group\n    serial\n"
    return make_suite(tmp_path, dict({name: HEAD + text for name, text in files.items()}, **{
        "note.py": NOTE, "conftest.py": BARRIER, "pytest.ini": ini}))


def run(tmp_path, daemon, suite, count=3, meet=3, args=()):
    """The workers, and what they noted; `meet`: so many must be at work before any goes on."""
    path = tmp_path / "spans"
    env = dict(barrier(tmp_path, meet) if meet else {}, E2E_SPANS=str(path))
    workers = run_workers(count, daemon, suite, env=env, args=list(args))
    spans = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return workers, spans


def overlap(one, other):
    return one is not other and one["begin"] < other["end"] and other["begin"] < one["end"]


def most_at_once(spans):
    return max(sum(other["begin"] <= span["begin"] < other["end"] for other in spans) for span in spans)


def body(name, mark="", seconds=0.05):
    return "%s\ndef test_%s():\n    with noted(%r):\n        time.sleep(%g)\n" % (mark, name, name, seconds)


def test_group_stays_on_one_worker(tmp_path, daemon):
    grouped = '@pytest.mark.xdist_group("g1")'
    shard = '@pytest.mark.shard(group="g2")'
    files = {"test_%d.py" % i: body("a%d" % i, grouped) + body("b%d" % i, shard) + body("c%d" % i) + body("d%d" % i)
             for i in range(6)}
    workers, spans = run(tmp_path, daemon, suite_of(tmp_path, files))
    assert codes(workers) == [0, 0, 0], outputs(workers)
    nodes = defaultdict(set)
    for span in spans:
        nodes[span["name"][0]].add(span["node"])
    assert len(spans) == 24
    assert len(nodes["a"]) == 1 and len(nodes["b"]) == 1
    assert len(nodes["c"] | nodes["d"]) > 1, "the others are spread"


@pytest.mark.parametrize("mark", ["@pytest.mark.serial", "@pytest.mark.shard(serial=True)"])
def test_serial_tests_never_meet(tmp_path, daemon, mark):
    files = {"test_%d.py" % i: body("s%d" % i, mark) + body("f%d" % i) + body("t%d" % i, mark) for i in range(5)}
    workers, spans = run(tmp_path, daemon, suite_of(tmp_path, files))
    assert codes(workers) == [0, 0, 0], outputs(workers)
    serial = [span for span in spans if span["name"][0] in "st"]
    assert len(serial) == 10 and most_at_once(serial) == 1
    assert len({span["node"] for span in spans}) > 1


def test_tokens_are_counted_over_workers(tmp_path, daemon):
    (tmp_path / "suite").mkdir()
    files = {"test_%d.py" % i: body("db%d" % i, '@pytest.mark.shard(tokens="db")', 0.1) +
             body("both%d" % i, '@pytest.mark.shard(tokens=["db", "printer"])', 0.1) for i in range(5)}
    suite = suite_of(tmp_path, files)
    (suite / "shard.yml").write_text("tokens:\n  db: 2\n")
    workers, spans = run(tmp_path, daemon, suite, count=4, meet=2)
    assert codes(workers) == [0] * 4, outputs(workers)
    assert len(spans) == 10 and most_at_once(spans) == 2, "two databases, and both were in use"
    assert most_at_once([span for span in spans if span["name"].startswith("both")]) == 1


def test_exclusive_test_runs_alone(tmp_path, daemon):
    exclusive = "@pytest.mark.shard(exclusive=True)"
    files = {"test_%d.py" % i: body("x%d" % i, exclusive if i < 2 else "") + body("y%d" % i) for i in range(6)}
    workers, spans = run(tmp_path, daemon, suite_of(tmp_path, files), meet=0)
    assert codes(workers) == [0, 0, 0], outputs(workers)
    alone = [span for span in spans if span["name"] in ("x0", "x1")]
    assert len(spans) == 12 and len(alone) == 2
    assert not [(one["name"], other["name"]) for one in alone for other in spans if overlap(one, other)]


def test_tokens_outlive_a_restart(tmp_path, make_daemon):
    """Which test needs what is on disk with the list."""
    daemon = make_daemon(lease_ttl="3s", heartbeat="200ms")
    files = {"test_%d.py" % i: body("s%d" % i, "@pytest.mark.serial", 0.15) for i in range(12)}
    suite = suite_of(tmp_path, files)
    path = tmp_path / "spans"
    workers = start_workers(3, daemon, suite, env={"E2E_SPANS": str(path)})
    eventually(lambda: path.exists() and len(path.read_text().splitlines()) >= 2, what="two tests have run")
    daemon.restart()
    assert codes(workers) == [0, 0, 0], outputs(workers)
    spans = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({span["name"] for span in spans}) == 12 and most_at_once(spans) == 1


def test_classes_are_not_split(tmp_path, daemon):
    text = HEAD + "".join("class Test%s:\n%s" % (name, "".join(
        "    def test_%d(self):\n        with noted(%r):\n            time.sleep(0.03)\n" % (i, name)
        for i in range(8))) for name in "ABCDEF")
    suite = make_suite(tmp_path, {"test_classes.py": text, "note.py": NOTE, "conftest.py": BARRIER})
    workers, spans = run(tmp_path, daemon, suite, args=["--by-class"])
    assert codes(workers) == [0, 0, 0], outputs(workers)
    nodes = defaultdict(set)
    for span in spans:
        nodes[span["name"]].add(span["node"])
    assert len(spans) == 48 and all(len(found) == 1 for found in nodes.values()), nodes
    assert len({span["node"] for span in spans}) > 1


def order_suite(tmp_path):
    text = "import os\n" + "".join(
        "def test_%d():\n    assert '%d' not in os.environ.get('E2E_FAIL', '').split()\n" % (i, i) for i in range(12))
    return make_suite(tmp_path, {"test_a.py": text, "test_b.py": text})


def test_failed_last_time_first(tmp_path, daemon):
    suite = order_suite(tmp_path)

    def build(name, fail, *args):
        env = {"SHARD_BRANCH": "main", "SHARD_COMMIT": name, "E2E_FAIL": fail}
        worker = Worker(daemon, suite, build=name, env=env, args=args)
        code = worker.wait()
        return code, worker.ran()

    assert build("one", "7")[0] == 1
    eventually(lambda: len(daemon.json("slow", "--limit", "100")) >= 22, what="the history has learned the build")
    code, ran = build("two", "99", "--order", "failed-first")
    assert code == 0 and {ran[0], ran[1]} == {"test_a.py::test_7", "test_b.py::test_7"}, ran
    code, ran = build("three", "99")
    assert code == 0 and "test_a.py::test_7" not in ran[:2]


def test_collection_order_on_every_worker(tmp_path, daemon):
    suite = order_suite(tmp_path)
    (suite / "conftest.py").write_text(BARRIER)
    workers = run_workers(3, daemon, suite, env=barrier(tmp_path, 3), args=["--order", "collection"])
    assert codes(workers) == [0, 0, 0], outputs(workers)
    listed = list(verdicts(daemon))
    ran = [[listed.index(name) for name in worker.ran()] for worker in workers]
    assert sorted(sum(ran, [])) == list(range(24)) and all(one == sorted(one) for one in ran), ran


def test_group_that_bounds_the_finish_is_named(tmp_path, daemon):
    files = {"test_%d.py" % i: body("a%d" % i, '@pytest.mark.xdist_group("whole suite")') for i in range(6)}
    files["test_6.py"] = body("b")
    workers = run_workers(2, daemon, suite_of(tmp_path, files), args=["--total", "2"], env={
        "E2E_SPANS": str(tmp_path / "spans")})
    assert codes(workers) == [0, 0]
    said = re.findall(r"WARNING: the group .*whole suite.* takes [\d.]+ s on one worker", outputs(workers))
    assert said, outputs(workers)


def test_strange_marks(tmp_path, daemon):
    """Names that are empty are none; hundreds are taken whole, and each counts."""
    many = "@pytest.mark.shard(tokens=[str(i) for i in range(900)] + ['last'])"
    files = {"test_a.py": body("a", '@pytest.mark.xdist_group(name="")') + body("b", '@pytest.mark.shard(tokens=[""])'),
             "test_b.py": body("c", "@pytest.mark.shard(tokens=5, group=7)") +
             body("z", '@pytest.mark.shard(tokens="last")') + "".join(body("m%d" % i, many) for i in range(40))}
    workers, spans = run(tmp_path, daemon, suite_of(tmp_path, files), meet=0)
    assert codes(workers) == [0, 0, 0], outputs(workers)
    assert len(spans) == 44 and most_at_once([span for span in spans if span["name"][0] in "mz"]) == 1
    assert "62 different tokens" in outputs(workers)


def test_exclusive_test_sends_nobody_home(tmp_path, daemon):
    """Who waits behind one that runs for longer than --linger has work then."""
    alone = "@pytest.mark.shard(exclusive=True)"
    files = {"test_%02d.py" % i: body("y%d" % i, "", 0.3) for i in range(12)}
    files["test_12.py"] = body("x", alone, 3)
    workers, spans = run(tmp_path, daemon, suite_of(tmp_path, files), meet=0, args=["--linger", "500ms"])
    assert codes(workers) == [0, 0, 0], outputs(workers)
    assert {span["node"] for span in spans} == {"0", "1", "2"}


@pytest.mark.parametrize("given, why", [("db=0", "no number from 1"), ("=3", "no name"), ("exclusive=2", "no token")])
def test_bad_tokens_are_refused(tmp_path, daemon, given, why):
    worker = Worker(daemon, order_suite(tmp_path), args=["--tokens", given])
    assert worker.wait() == 2 and why in worker.output() and given in worker.output()


CMAKE = """
cmake_minimum_required(VERSION 3.20)
project(marks NONE)
enable_testing()
foreach(i RANGE 1 3)
  add_test(NAME lock${i} COMMAND sh ${CMAKE_SOURCE_DIR}/note.sh lock${i})
  set_tests_properties(lock${i} PROPERTIES RESOURCE_LOCK printer)
  add_test(NAME user${i} COMMAND sh ${CMAKE_SOURCE_DIR}/note.sh user${i})
  set_tests_properties(user${i} PROPERTIES FIXTURES_REQUIRED "db;net")
  add_test(NAME free${i} COMMAND sh ${CMAKE_SOURCE_DIR}/note.sh free${i})
endforeach()
add_test(NAME make COMMAND sh ${CMAKE_SOURCE_DIR}/note.sh make)
set_tests_properties(make PROPERTIES FIXTURES_SETUP db)
add_test(NAME drop COMMAND sh ${CMAKE_SOURCE_DIR}/note.sh drop)
set_tests_properties(drop PROPERTIES FIXTURES_CLEANUP net)
add_test(NAME alone COMMAND sh ${CMAKE_SOURCE_DIR}/note.sh alone)
set_tests_properties(alone PROPERTIES RUN_SERIAL ON)
"""
NOTE_SH = """
begin=$(date +%s%N)
sleep 0.05
end=$(date +%s%N)
printf '{"name": "%s", "node": "%s", "begin": %s, "end": %s}\\n' "$1" "$SHARD_NODE" "$begin" "$end" >>"$E2E_SPANS"
"""
CTEST = """ctest --test-dir build --output-junit "$1" -R "^($(paste -sd '|' "$2"))\\$" """


def test_ctest_properties(tmp_path, daemon):
    suite = make_suite(tmp_path, {"CMakeLists.txt": CMAKE, "note.sh": NOTE_SH})
    subprocess.run(["cmake", "-S", str(suite), "-B", str(suite / "build")], check=True, stdout=subprocess.DEVNULL)
    path = tmp_path / "spans"
    listing = "ctest --test-dir build --show-only=json-v1"
    workers = run_workers(3, daemon, suite, env={"E2E_SPANS": str(path)},
                          command=["sh", "-c", CTEST, "sh", "{tmp}/r.xml", "{file}"],
                          args=["--runner", "command", "--list", listing, "--results", "junit:{tmp}/r.xml"])
    assert codes(workers) == [0, 0, 0], outputs(workers)
    spans = [json.loads(line) for line in path.read_text().splitlines()]
    assert {span["name"] for span in spans} == set(verdicts(daemon))
    assert set(verdicts(daemon).values()) == {"passed"}
    assert most_at_once([span for span in spans if span["name"].startswith("lock")]) == 1
    alone = next(span for span in spans if span["name"] == "alone")
    assert not [span["name"] for span in spans if overlap(alone, span)]
    fixture = [span for span in spans if span["name"][:4] in ("user", "make", "drop")]
    assert len({span["node"] for span in fixture}) == 1


@pytest.mark.parametrize("text, why", [
    ("{", "column"), ('{"kind": "other"}', "not that of ctest"),
    ('{"kind": "ctestInfo", "tests": [{"name": 3}]}', "test 1")])
def test_broken_ctest_list(tmp_path, daemon, text, why):
    suite = make_suite(tmp_path, {"list": text})
    worker = Worker(daemon, suite, command=["true", "{}"], args=["--runner", "command", "--list-file", "list"])
    assert worker.wait() == 2 and why in worker.output(), worker.output()
