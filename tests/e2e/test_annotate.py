"""`shard report` in the words of the CI it runs in, by that CI's own variables; and what tests make of names, nodes and
outputs to act in that CI, which must not work."""
import re

import pytest
from shardlib import Worker, codes, make_suite, run_workers

SUITE = {"test_a.py": "def test_good(): pass\n\ndef test_bad():\n    print('::error::planted')\n    assert 0, '##'\n"}
ENVIRONMENTS = {"github": {"GITHUB_ACTIONS": "true"}, "gitlab": {"GITLAB_CI": "true"},
                "teamcity": {"TEAMCITY_VERSION": "2026.1"}, "azure": {"TF_BUILD": "True"},
                "buildkite": {"BUILDKITE": "true"}, "none": {}}
WORDS = {"github": r"^::error file=test_a\.py,line=5,title=test_a\.py%3A%3Atest_bad::failed%0A",
         "gitlab": r"\x1b\[0Ksection_start:\d+:shard_failure_1\[collapsed=true\]\r\x1b\[0Ktest_a\.py::test_bad$",
         "teamcity": r"^##teamcity\[testFailed name='test_a\.py::test_bad' flowId='shard default' message='failed' det",
         "buildkite": r"^--- test_a\.py::test_bad$"}


def report_of(daemon):
    def report(ci, *args):
        done = daemon.shard("report", *args, env=ENVIRONMENTS[ci], universal_newlines=False, errors=None)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()
    return report


@pytest.fixture
def report(daemon, tmp_path):
    assert [worker.wait() for worker in run_workers(1, daemon, make_suite(tmp_path, SUITE))] == [1]
    return report_of(daemon)


def named(text):
    return {ci for ci, form in WORDS.items() if re.search(form, text, re.MULTILINE)}


def obeyed(text):
    """The lines that GitHub takes for commands, but for those that stop and resume; and how often it was stopped."""
    found, stopped, word = [], 0, None
    for line in text.splitlines():
        command = re.match(r"\s*::([\w-]+)(?: [^:]*)?::(.*)$", line)
        if word is None and command and command.group(1) == "stop-commands":
            word, stopped = command.group(2), stopped + 1
        elif command and command.group(1) == word:
            word = None
        elif word is None and (command or "##[" in line):
            found.append(line)
    assert word is None, "commands are never resumed"
    return found, stopped


def test_the_ci_decides(report):
    for ci in ENVIRONMENTS:
        text = report(ci)
        assert named(text) == {ci} - {"none", "azure"}, text
        assert "1 passed, 1 failed in" in text
    assert named(report("github", "--annotate", "none")) == set()
    assert named(report("none", "--annotate", "teamcity")) == {"teamcity"}
    assert named(report("github", "--markdown")) == set() == named(report("github", "--json"))


def test_outputs_are_no_commands(report):
    text = report("github")
    found, stopped = obeyed(text)
    assert "\n::error::planted\n" in text
    assert [line.split("::")[1].split()[0] for line in found] == ["group", "endgroup", "error"] and stopped == 3
    token = re.search(r"^::stop-commands::(\w+)\n", text).group(1)
    assert token not in report("github")


# What a stranger would write into the log of each CI, as an id, as a node's name and as an output.
PLANTED = ["::error::planted", "::stop-commands::x", "  ::set-output name=a::b", "##[error]planted",
           "##vso[task.complete result=Succeeded;]", "##teamcity[buildStatus status='SUCCESS']",
           "section_end:1:shard_failure_1\\r\\033[0K", "::endgroup::", "--- planted", "+++ planted", "~~~ planted",
           "^^^ +++"]
RUN = """
cat planted
case "$1" in *flaky)
  mark="seen.$(printf %s "$1" | cksum | tr -d ' ')"
  test ! -e "$mark" || exit 0
  touch "$mark" ;;
esac
exit 1
"""


@pytest.fixture
def hostile(daemon, tmp_path):
    """All of PLANTED as ids of failing tests, some as ids of flaky ones, whose outputs hold all of it, on a node of
    such a name. The flaky ones run first: no more than ten are tried again."""
    ids, text = [line.strip() for line in PLANTED], "\n".join(PLANTED) + "\n"
    suite = make_suite(tmp_path, {"list": "".join(line + " flaky\n" for line in ids[:6]) + "\n".join(ids),
                                  "planted": text + text.replace("\\r", "\r").replace("\\033", "\033"), "run.sh": RUN})
    worker = Worker(daemon, suite, node="##teamcity[::error::x]", command=["sh", "run.sh", "{}"],
                    args=["--runner", "command", "--list-file", "list", "--retries", "1", "--order", "collection"])
    assert codes([worker]) == [1]
    return report_of(daemon)


def test_nothing_planted_acts(hostile):
    text = hostile("github")
    found, _ = obeyed(text)
    strange = [line for line in found if not re.match(r"::(group::|endgroup::$|(error|warning) title=)", line)]
    assert strange == [], text
    assert "::error::planted: failed" in text and "\n  ::error::planted flaky: " in text
    text = hostile("teamcity")
    for line in text.splitlines():
        assert line.count("##teamcity[") == line.startswith("##teamcity["), line
    assert all(re.match(r"##teamcity\[test\w+ name='(\|'|[^'])*'", line)
               for line in text.splitlines() if line.startswith("##teamcity[")), text
    assert "##teamcity\\x5bbuildStatus" in text and "##teamcity\\x5b::error::x]" in text
    for ci in ("azure", "none", "gitlab", "teamcity"):
        text = hostile(ci)
        assert "##vso[" not in text and "##[" not in text and "##vso\\x5b" in text
    text = hostile("buildkite")
    heads = [line for line in text.splitlines() if re.match(r"---|\+\+\+|~~~|\^\^\^", line)]
    assert len(heads) == 2 * len(PLANTED) and " +++ planted\n" in text and "\n ^^^ +++: failed on" in text
    assert heads[1::2] == ["+++ shard report"] * len(PLANTED), heads
    assert sorted(heads[::2]) == sorted("--- " + re.sub(r"(##\w*)\[", r"\1\\x5b", line.strip()) for line in PLANTED)
    text = hostile("gitlab")
    assert len(re.findall("section_start:[^\r\n]*\r\x1b", text)) == text.count("\r") / 2 == text.count("section_start")
