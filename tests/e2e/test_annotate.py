"""`shard report` in the words of the CI it runs in, by that CI's own variables."""
import re

import pytest
from shardlib import make_suite, run_workers

SUITE = {"test_a.py": "def test_good(): pass\n\ndef test_bad():\n    print('::error::planted')\n    assert 0, '##'\n"}
ENVIRONMENTS = {"github": {"GITHUB_ACTIONS": "true"}, "gitlab": {"GITLAB_CI": "true"},
                "teamcity": {"TEAMCITY_VERSION": "2026.1"}, "none": {}}
WORDS = {"github": r"^::error file=test_a\.py,line=5,title=test_a\.py%3A%3Atest_bad::failed%0A",
         "gitlab": r"\x1b\[0Ksection_start:\d+:shard_failure_1\[collapsed=true\]\r\x1b\[0Ktest_a\.py::test_bad$",
         "teamcity": r"^##teamcity\[testFailed name='test_a\.py::test_bad' message='failed' details='"}


@pytest.fixture
def report(daemon, tmp_path):
    assert [worker.wait() for worker in run_workers(1, daemon, make_suite(tmp_path, SUITE))] == [1]

    def report(ci, *args):
        done = daemon.shard("report", *args, env=ENVIRONMENTS[ci], universal_newlines=False, errors=None)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()
    return report


def named(text):
    return {ci for ci, form in WORDS.items() if re.search(form, text, re.MULTILINE)}


def test_the_ci_decides(report):
    for ci in ENVIRONMENTS:
        text = report(ci)
        assert named(text) == {ci} - {"none"}, text
        assert "1 passed, 1 failed in" in text
    assert named(report("github", "--annotate", "none")) == set()
    assert named(report("none", "--annotate", "teamcity")) == {"teamcity"}
    assert named(report("github", "--markdown")) == set() == named(report("github", "--json"))


def test_outputs_are_no_commands(report):
    text = report("github")
    token, output = re.search(r"^::stop-commands::(\w+)\n(.*)^::\1::$", text, re.MULTILINE | re.DOTALL).groups()
    assert "::error::planted" in output
    assert len(re.findall("^::error", text.replace(output, ""), re.MULTILINE)) == 1
    assert token not in report("github")
