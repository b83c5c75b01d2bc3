"""The wrong-verdict hunt in a short run, and the proof that it finds what it is there for: behind a shard that lies
about exit codes or reports, or whose jobs run nothing, the judge notices each of the lies."""
import argparse
import io
import json
import os
import pathlib
import stat

import pytest

import draw
import hunt
import judge
import shrink

BUILD = os.path.abspath(os.environ.get("SHARD_BUILD_DIR", str(hunt.ROOT / "build")))
HISTORIES = 60
QUICK = ["plain", "rerun", "mute"]
LIES = {
    "a failing job is green": ('case "$1" in run) "$REAL" "$@"; exit 0 ;; esac', {"ended with 0 instead of 1"}),
    "a failing build is green": ('case "$1" in wait) "$REAL" "$@"; exit 0 ;; esac', {"FALSE GREEN, wait"}),
    "a green build is red": ('case "$1" in wait) "$REAL" "$@"; exit 1 ;; esac', {"FALSE RED, wait"}),
    "a green job is red": ('case "$1" in run) "$REAL" "$@"; [ $? = 0 ] && exit 16; exit 1 ;; esac',
                           {"FALSE RED, ended"}),
    "the report forgives": ('case "$1" in report) "$REAL" "$@" | sed "s/failed/passed/"; exit 0 ;; esac',
                            {"report says passed"}),
    "the report loses a test": ('case "$1" in report) "$REAL" "$@" | sed "s/\\"passed\\"/null/"; exit 0 ;; esac',
                                {"report says None"}),
    "a re-run runs nothing": ('case "$1$GITHUB_RUN_ATTEMPT$SHARD_RETRIED$BUILDKITE_RETRY_COUNT" in '
                              'run[2-9]*|runyes*|runno[1-9]|run[1-9]) exit 0 ;; esac', {"executed nothing"}),
}


def options(build, *args):
    return hunt.parse(["--build", str(build), "--jobs", "1"] + list(args))


def test_no_verdict_is_wrong():
    """Some histories of every kind, the same ones each time; a difference is printed with the command that repeats
    it."""
    out = io.StringIO()
    found = hunt.hunt(options(BUILD, "--histories", str(HISTORIES), "--seed", "4001"), out)
    assert not found, out.getvalue()


@pytest.fixture
def lying(tmp_path):
    def make(script):
        (tmp_path / "shardd").symlink_to(BUILD + "/shardd")
        program = tmp_path / "shard"
        program.write_text('#!/bin/sh\nREAL=%s/shard\n%s\nexec "$REAL" "$@"\n' % (BUILD, script))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return tmp_path
    return make


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(lying, lie):
    script, said = LIES[lie]
    build, found = lying(script), set()
    for theme in QUICK:
        out = io.StringIO()
        for one in hunt.hunt(options(build, "--histories", "8", "--seed", "7", "--only", theme), out):
            found |= {text for text in said if any(text in difference for difference in one.differences)}
        if found == said:
            return
    assert found == said


def test_the_same_seed_is_the_same_history():
    drawn = [[draw.draw(seed, theme) for seed in range(40)] for theme in [None] + list(draw.THEMES)]
    assert drawn == [[draw.draw(seed, theme) for seed in range(40)] for theme in [None] + list(draw.THEMES)]
    assert len({json.dumps(history) for histories in drawn for history in histories}) > 500
    assert all(draw.readable(history) for histories in drawn for history in histories)


def test_every_case_has_a_theme():
    for case in "v1 v2 v3 v4 v5 v6 v7 v9 v10 v11 v12".split():
        assert set(draw.themes_of(case)) <= set(draw.THEMES)
    with pytest.raises(ValueError):
        draw.themes_of("v99")
    with pytest.raises(SystemExit) as ended:
        hunt.parse(["--only", "v99"])
    assert ended.value.code == 2


# ---- the judge on made-up records

def history(tests, steps, **more):
    commits = {"c1": {"sha": "c1", "tests": tests, "addopts": ""}}
    return dict({"seed": 0, "theme": "plain", "form": "tap", "ci": "plain", "retries": 0, "lazy": False, "cap": "",
                 "on_retry": "", "bound": "", "mixed": "", "variant": False, "env_key": False,
                 "nodes": 1, "commits": commits, "steps": steps}, **more)


def step(*jobs):
    return {"do": "run", "key": 1, "commit": "c1", "together": True, "away": False, "hold": "", "jobs": list(jobs)}


def record(code, wait, log, rows):
    return {"jobs": [{"name": log[0].split()[0], "code": code, "output": "", "said": "", "victim": False,
                      "hung": False}],
            "log": [tuple(line.split()) for line in log],
            "asked": {"e1": {"wait": wait, "said": "", "junit": "", "report": [
                {"id": name, "status": status, "attempt": 1, "flags": 1} for name, status in rows.items()]}}}


RUN = ["0.0 a begin", "0.0 a pass", "0.0 b begin", "0.0 b fail"]
AGAIN = ["1.0 b begin", "1.0 b pass"]
BOTH = {"a": "passed", "b": "failed"}
LATE = ["0.0 a begin", "0.0 a pass", "0.0 b begin", "0.0 b pass", "0.0 - late"]
GOOD = {"a": "passed", "b": "passed"}


@pytest.mark.parametrize("records, found", [
    ([record(1, 1, RUN, BOTH)], []),
    ([record(1, 1, RUN, BOTH), record(0, 0, AGAIN, GOOD)], []),
    ([record(1, 1, RUN, BOTH), record(0, 0, ["1.0 a begin", "1.0 a pass"], BOTH)],
     ["FALSE GREEN, all", "FALSE GREEN, w", "nobody executed what it had decided: b"]),
    ([record(0, 1, RUN, BOTH)], ["FALSE GREEN, all", "instead of 1"]),
    ([record(1, 1, RUN, dict(BOTH, b="passed"))], ["report says passed of b"]),
    ([record(1, 1, LATE, GOOD)], []),
    ([record(1, 1, LATE, GOOD), record(0, 0, AGAIN, GOOD)],
     ["FALSE GREEN, all", "FALSE GREEN, w", "nobody executed what it had decided: a"]),
    ([record(1, 1, LATE, GOOD), record(0, 0, AGAIN + ["1.0 a begin", "1.0 a pass"], GOOD)], []),
    ([record(0, 0, RUN[:2], {"a": "passed"})], ["FALSE GREEN, all", "FALSE GREEN, w"]),
    ([record(0, 0, LATE[:4], GOOD), record(0, 0, LATE[:2], GOOD)], ["nobody executed what it had decided: b"]),
    ([record(1, 0, LATE[:4], GOOD)], ["FALSE RED, ended"]),
    ([record(0, 1, LATE[:4], GOOD)], ["FALSE RED, wait"]),
])
def test_the_rules(records, found):
    jobs = [step(draw.job(0, attempt)) for attempt in range(len(records))]
    said = judge.judge(history({"a": "pass", "b": "once"}, jobs), records)
    assert len(said) == len(found) and all(any(text in line for line in said) for text in found), said


def test_a_history_is_made_smaller():
    """Of a drawn history, down to what a difference needs."""
    def run(smaller):
        kept = any("a1" in commit["tests"] for commit in smaller["commits"].values())
        return (["step 0: too red"] if kept else []), []

    drawn = draw.draw(3, "rerun")
    drawn["commits"]["c1"]["tests"].update(a1="fail", b1="pass")
    found, differences, _ = shrink.shrink(drawn, run)
    assert differences and len(found["steps"]) == 1 and list(found["commits"]["c1"]["tests"]) == ["a1"]


def test_it_says_how_to_repeat(lying):
    build, out = lying(LIES["a failing job is green"][0]), io.StringIO()
    found = hunt.hunt(options(build, "--histories", "20", "--seed", "1", "--only", "plain", "--first"), out)
    assert "--only plain --one %s" % found[0].seed in out.getvalue() and "DIFFERENCE" in out.getvalue()
    assert isinstance(options(build), argparse.Namespace) and pathlib.Path(hunt.__file__).exists()
