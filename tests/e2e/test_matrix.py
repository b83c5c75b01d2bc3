"""A CI's matrix is never taken for parallel nodes: each entry is a build of its own, by its variables, or is refused
for what it is."""
import pytest
from shardlib import Worker, codes, make_suite, outputs, verdicts

SUITE = {"test_%d.py" % i: "import time\ndef test_it(): time.sleep(0.05)\ndef test_too(): time.sleep(0.05)\n"
         for i in range(4)}
TESTS = sorted("test_%d.py::%s" % (i, name) for i in range(4) for name in ("test_it", "test_too"))


def job(daemon, suite, **env):
    return Worker(daemon, suite, node=None, build=None, env=dict({"CI": "true"}, **env))


def gitlab(version, index):
    return dict(GITLAB_CI="true", CI_PIPELINE_ID="9", CI_JOB_GROUP_NAME="t", CI_JOB_NAME="t: [%s]" % version,
                CI_NODE_INDEX=str(index), CI_NODE_TOTAL="2", CI_JOB_ID=str(700 + index))


def azure(version, index):
    return dict(TF_BUILD="True", BUILD_BUILDID="9", SYSTEM_PHASENAME="t",
                SYSTEM_JOBNAME="py" + version.replace(".", ""),
                SYSTEM_JOBPOSITIONINPHASE=str(index), SYSTEM_TOTALJOBSINPHASE="2", SYSTEM_JOBATTEMPT="1")


def github(version, index):
    return dict(GITHUB_ACTIONS="true", GITHUB_RUN_ID="9", GITHUB_JOB="t", GITHUB_RUN_ATTEMPT="1",
                SHARD_VARIANT=version, SHARD_NODE="0", SHARD_TOTAL="1")


KEYS = [(gitlab, ["9/t: [3.11]", "9/t: [3.12]"]), (azure, ["9/t/py311", "9/t/py312"]),
        (github, ["9/t/3.11", "9/t/3.12"])]


@pytest.mark.parametrize("variables, keys", KEYS, ids=["gitlab", "azure", "github"])
def test_each_entry_runs_every_test(tmp_path, daemon, variables, keys):
    suite = make_suite(tmp_path, SUITE)
    jobs = [job(daemon, suite, **variables(version, i + 1)) for i, version in enumerate(["3.11", "3.12"])]
    assert codes(jobs) == [0, 0], outputs(jobs)
    for one, key in zip(jobs, keys):
        assert sorted(one.ran()) == TESTS, one.output()
        assert sorted(verdicts(daemon, key)) == TESTS
        assert "shard: build %s," % key in one.output()


def test_an_entry_of_a_matrix_falls_back_to_the_whole_list(tmp_path, away):
    suite = make_suite(tmp_path, SUITE)
    alone = ["--fallback", "static", "--connect-timeout", "100ms", "--retried", "no"]
    one = Worker(away, suite, node=None, build=None, args=alone, env=dict(gitlab("3.11", 2), CI="true"))
    assert one.wait() == 0, one.output()
    assert sorted(one.ran()) == TESTS
