"""shard in the jobs of GitLab, Buildkite and GitHub: the variables that each sets are all that tells the build, the job
and its try. `shard wait` and `shard report` run in a job too, with the build's key as the docs spell it."""
import collections
import itertools

import pytest
from shardlib import (BARRIER, Worker, attempts, barrier, codes, junit, make_suite, outputs, plain_pytest, ran_again,
                      settling, verdicts)
from test_build import MIXED

JOBS = 4
COMMIT = "4f1d2c3b4a59687786950a1b2c3d4e5f60718293"
job_ids = itertools.count(90001)


def gitlab(pipeline, index, attempt):
    return {"CI": "true", "GITLAB_CI": "true", "CI_PIPELINE_ID": str(7000 + pipeline), "CI_JOB_GROUP_NAME": "unit",
            "CI_JOB_NAME": "unit %d/%d" % (index + 1, JOBS), "CI_JOB_ID": str(next(job_ids)),
            "CI_NODE_INDEX": str(index + 1), "CI_NODE_TOTAL": str(JOBS), "CI_COMMIT_SHA": COMMIT,
            "CI_COMMIT_REF_NAME": "topic", "CI_PROJECT_PATH": "group/thing"}


def buildkite(pipeline, index, attempt):
    return {"CI": "true", "BUILDKITE": "true", "BUILDKITE_BUILD_ID": "0191-build-%d" % pipeline,
            "BUILDKITE_STEP_ID": "0191-step-%d" % pipeline, "BUILDKITE_JOB_ID": "0191-job-%d" % next(job_ids),
            "BUILDKITE_PARALLEL_JOB": str(index), "BUILDKITE_PARALLEL_JOB_COUNT": str(JOBS),
            "BUILDKITE_RETRY_COUNT": str(attempt), "BUILDKITE_COMMIT": COMMIT, "BUILDKITE_BRANCH": "topic",
            "BUILDKITE_REPO": "git@git.example.org:group/thing.git"}


def github(pipeline, index, attempt):
    # No variable tells the place in a matrix; the recipe passes strategy.job-index and job-total.
    return {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": str(80000 + pipeline), "GITHUB_JOB": "unit",
            "GITHUB_RUN_ATTEMPT": str(attempt + 1), "GITHUB_SHA": COMMIT, "GITHUB_REF_NAME": "topic",
            "GITHUB_REPOSITORY": "group/thing", "SHARD_NODE": str(index), "SHARD_TOTAL": str(JOBS)}


class CI:
    def __init__(self, variables):
        self.variables = variables

    def __call__(self, pipeline=1, index=0, attempt=0):
        """A job's environment; the project comes from it, too."""
        return dict(dict(SHARD_PROJECT=None, SHARD_BUILD=None, SHARD_NODE=None),
                    **self.variables(pipeline, index, attempt))

    def key(self, pipeline=1):
        return {gitlab: "%d/unit" % (7000 + pipeline), github: "%d/unit" % (80000 + pipeline),
                buildkite: "0191-build-%d/0191-step-%d" % (pipeline, pipeline)}[self.variables]

    def wait(self, daemon):
        return daemon.shard("wait", "--build", self.key(), env=self()).returncode


@pytest.fixture(params=[gitlab, buildkite, github], ids=lambda variables: variables.__name__)
def ci(request):
    return CI(request.param)


def start_job(daemon, suite, ci, pipeline=1, index=0, attempt=0, more=None, **options):
    return Worker(daemon, suite, node=str(index), build=None,
                  env=dict(ci(pipeline, index, attempt), **(more or {})), **options)


def run_jobs(daemon, suite, ci, pipeline=1, count=JOBS, **options):
    jobs = [start_job(daemon, suite, ci, pipeline, index, **options) for index in range(count)]
    codes(jobs)
    return jobs


def test_parallel_jobs_share_one_build(tmp_path, daemon, ci):
    suite = make_suite(tmp_path, MIXED)
    plain = plain_pytest(suite)
    jobs = run_jobs(daemon, suite, ci)
    found = attempts(daemon, ci.key(), env=ci())
    assert ran_again(found, JOBS) == {}
    assert {name: settling(rows)[-1]["status"] for name, rows in found.items()} == plain.outcomes, outputs(jobs)
    ran = collections.Counter(name for job in jobs for name in job.ran())
    assert set(ran) == {name for name in plain.outcomes if "::" in name}
    assert {name for name, count in ran.items() if count != 1 and plain.outcomes[name] != "skipped"} == set()
    assert junit(daemon, tmp_path / "merged.xml", ci.key(), env=ci()) == plain.junit
    assert ci.wait(daemon) == 1
    failing = {name for name, status in plain.outcomes.items() if status in ("failed", "error")}
    assert codes(jobs) == [1 if failing & set(job.ran()) else 0 for job in jobs]
    nodes = {row["node"] for rows in found.values() for row in rows}
    assert nodes <= {"0", "1", "2", "3"}
    build, = daemon.json("builds", "--project", "group/thing")
    assert (build["state"], build["commit"], build["branch"]) == ("complete", COMMIT, "topic")


FIXABLE = '''
    import os, time
    import pytest

    @pytest.mark.parametrize("n", range(6))
    def test_it(n):
        time.sleep(0.01)
        assert n % 2 or os.path.exists(os.environ["FIXED"])
'''


def failed_on(job):
    """What a job of the suite FIXABLE failed: the even ones."""
    return sorted(name for name in job.ran() if int(name[-2]) % 2 == 0)


def test_a_job_that_is_run_again_runs_what_it_failed(tmp_path, daemon, ci):
    suite = make_suite(tmp_path, dict({"test_%d.py" % i: FIXABLE for i in range(6)}, **{"conftest.py": BARRIER}))
    fixed = tmp_path / "fixed"
    more = {"FIXED": str(fixed)}
    jobs = run_jobs(daemon, suite, ci, more=dict(more, **barrier(tmp_path, JOBS)))
    assert sorted(name for job in jobs for name in job.ran()) == sorted(verdicts(daemon, ci.key(), env=ci()))
    broken = [index for index in range(JOBS) if failed_on(jobs[index])]
    assert len(broken) > 1 and codes(jobs) == [int(index in broken) for index in range(JOBS)]

    # Still broken: the same tests fail again, and nobody else's are run.
    index = broken[0]
    again = start_job(daemon, suite, ci, index=index, attempt=1, more=more)
    assert again.wait() == 1, again.output()
    assert sorted(again.ran()) == failed_on(jobs[index])
    assert ci.wait(daemon) == 1

    fixed.touch()
    for index in broken:
        again = start_job(daemon, suite, ci, index=index, attempt=2, more=more)
        assert again.wait() == 0, again.output()
        assert sorted(again.ran()) == failed_on(jobs[index])
        expected = 0 if index == broken[-1] else 1
        assert ci.wait(daemon) == expected
    assert set(verdicts(daemon, ci.key(), env=ci()).values()) == {"passed"}

    # Nothing is unresolved: what it decided before.
    again = start_job(daemon, suite, ci, index=broken[0], attempt=3, more=more)
    assert again.wait() == 0 and sorted(again.ran()) == sorted(jobs[broken[0]].ran())
    assert ci.wait(daemon) == 0


def test_a_passed_job_of_a_failing_build_runs_what_it_decided(tmp_path, daemon, ci):
    suite = make_suite(tmp_path, {"test_a.py": "def test_a(): assert 0\n", "test_b.py": "def test_b(): pass\n",
                                  "conftest.py": BARRIER})
    jobs = run_jobs(daemon, suite, ci, count=2, more=barrier(tmp_path, 2))
    assert sorted(codes(jobs)) == [0, 1], outputs(jobs)
    passed = codes(jobs).index(0)
    again = start_job(daemon, suite, ci, index=passed, attempt=1)
    assert again.wait() == 0 and sorted(again.ran()) == sorted(jobs[passed].ran()), again.output()
    assert ci.wait(daemon) == 1


@pytest.mark.parametrize("mode", ["auto", "unresolved", "mine", "all"])
def test_on_retry(tmp_path, daemon, mode):
    suite = make_suite(tmp_path, dict({"test_%d.py" % i: FIXABLE for i in range(6)}, **{"conftest.py": BARRIER}))
    more = {"FIXED": str(tmp_path / "fixed"), "SHARD_ON_RETRY": mode}
    jobs = run_jobs(daemon, suite, CI(gitlab), count=2, more=dict(more, **barrier(tmp_path, 2)))
    (tmp_path / "fixed").touch()
    again = start_job(daemon, suite, CI(gitlab), index=0, attempt=1, more=more)
    assert again.wait() == 0, again.output()
    every = jobs[0].ran() + jobs[1].ran()
    expected = {"auto": failed_on(jobs[0]), "unresolved": failed_on(jobs[0]), "mine": jobs[0].ran(), "all": every}[mode]
    assert sorted(again.ran()) == sorted(expected) and jobs[0].ran() and jobs[1].ran()


SLEEPS = [0.02, 0.25, 0.1, 0.6, 0.02, 0.4]


def test_the_second_build_takes_long_tests_first(tmp_path, daemon, ci):
    suite = make_suite(tmp_path, {"test_%d.py" % i: "import time\ndef test_it(): time.sleep(%g)\n" % seconds
                                  for i, seconds in enumerate(SLEEPS)})
    first, = run_jobs(daemon, suite, ci, pipeline=1, count=1)
    assert first.ran() == ["test_%d.py::test_it" % i for i in range(len(SLEEPS))]
    jobs = run_jobs(daemon, suite, ci, pipeline=2, count=2)
    assert codes(jobs) == [0, 0]
    rows = sorted((rows[0]["start"], name) for name, rows in attempts(daemon, ci.key(2), env=ci(2)).items())
    order = [SLEEPS[int(name[5])] for _, name in rows]
    assert sorted(order[:2]) == [0.4, 0.6] and order[2:4] == [0.25, 0.1] and order[4:] == [0.02, 0.02]
    assert sorted(jobs[0].ran() + jobs[1].ran()) == sorted(first.ran())
    slow = daemon.json("slow", "--project", "group/thing")
    assert [SLEEPS[int(row["test"][5])] for row in slow[:4]] == [0.6, 0.4, 0.25, 0.1]


def test_a_pipeline_with_two_groups_of_jobs_has_two_builds(tmp_path, daemon):
    suite = make_suite(tmp_path, {"test_a.py": "def test_a(): pass\n"})
    for group in ("unit", "integration"):
        job = start_job(daemon, suite, lambda *_: dict(gitlab(1, 0, 0), CI_JOB_NAME=group, SHARD_PROJECT=None))
        assert job.wait() == 0 and job.ran() == ["test_a.py::test_a"]
    assert len(daemon.json("builds", "--project", "group/thing")) == 2


def test_no_ci_and_no_key_is_a_usage_error(tmp_path, daemon):
    suite = make_suite(tmp_path, {"test_a.py": "def test_a(): pass\n"})
    worker = Worker(daemon, suite, build=None)
    assert worker.wait() == 2
    assert "--build" in worker.output() and worker.ran() == []
