// Unit tests of CI detection in builds with a matrix, nested pipelines and stages: each entry of a matrix is a build of
// its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/ci.h"

enum { VARS = 16 };

static const char *look_up(const char *name, void *arg) {
  const char *const *vars = arg;
  for (; vars[0]; vars += 2)
    if (strcmp(vars[0], name) == 0) return vars[1];
  return NULL;
}

// What a matrix is made of is part of the key; only a pure number among parallel jobs is a node.
static const struct {
  const char *vars[VARS];
  const char *build;
  int64_t index;
  uint32_t total;
} cases[] = {
    // GitLab: CI_NODE_INDEX and CI_NODE_TOTAL count the entries of a matrix, CI_JOB_GROUP_NAME leaves them out.
    {{"GITLAB_CI", "1", "CI_PIPELINE_ID", "9", "CI_JOB_GROUP_NAME", "t", "CI_JOB_NAME", "t: [3.11]", "CI_NODE_INDEX",
      "1", "CI_NODE_TOTAL", "2"},
     "9/t: [3.11]",
     -1,
     1},
    {{"GITLAB_CI", "1", "CI_PIPELINE_ID", "9", "CI_JOB_GROUP_NAME", "t", "CI_JOB_NAME", "t: [3.12]", "CI_NODE_INDEX",
      "2", "CI_NODE_TOTAL", "2"},
     "9/t: [3.12]",
     -1,
     1},
    {{"GITLAB_CI", "1", "CI_PIPELINE_ID", "9", "CI_JOB_NAME", "t: [3.12, a/b] 2/5", "CI_NODE_INDEX", "7",
      "CI_NODE_TOTAL", "10"},
     "9/t: [3.12, a/b]",
     1,
     5},
    {{"GITLAB_CI", "1", "CI_PIPELINE_ID", "9", "CI_JOB_NAME", "t: [3.12] 9/5", "CI_NODE_INDEX", "7", "CI_NODE_TOTAL",
      "10"},
     "9/t: [3.12]",
     -1,
     1},
    {{"GITLAB_CI", "1", "CI_PIPELINE_ID", "9", "CI_JOB_GROUP_NAME", "t", "CI_JOB_NAME", "t 2/5", "CI_NODE_INDEX", "2",
      "CI_NODE_TOTAL", "5"},
     "9/t",
     1,
     5},
    {{"GITLAB_CI", "1", "CI_PIPELINE_ID", "9", "CI_JOB_NAME", "t[3.12] 2/5", "CI_NODE_INDEX", "2", "CI_NODE_TOTAL",
      "5"},
     "9/t[3.12]",
     1,
     5},
    // A child pipeline has a CI_PIPELINE_ID of its own.
    {{"GITLAB_CI", "1", "CI_PIPELINE_ID", "10", "CI_PIPELINE_SOURCE", "parent_pipeline", "CI_JOB_NAME", "t"},
     "10/t",
     -1,
     1},
    // Buildkite: a matrix cannot be parallel too, and may stand in the label but not in the key of its step.
    {{"BUILDKITE", "1", "BUILDKITE_BUILD_ID", "b", "BUILDKITE_STEP_ID", "s", "BUILDKITE_LABEL", "t 3.11"},
     "b/s/t 3.11",
     -1,
     1},
    {{"BUILDKITE", "1", "BUILDKITE_BUILD_ID", "b", "BUILDKITE_STEP_ID", "s", "BUILDKITE_LABEL", "t 2 of 4",
      "BUILDKITE_PARALLEL_JOB", "1", "BUILDKITE_PARALLEL_JOB_COUNT", "4"},
     "b/s",
     1,
     4},
    // GitHub says nothing of a matrix: workers compare what they are.
    {{"GITHUB_ACTIONS", "1", "GITHUB_RUN_ID", "5", "GITHUB_JOB", "t", "RUNNER_OS", "Linux"}, "5/t", -1, 0},
    // CircleCI: the name of a job of a matrix has its parameters.
    {{"CIRCLECI", "1", "CIRCLE_WORKFLOW_WORKSPACE_ID", "w", "CIRCLE_JOB", "t-3.11", "CIRCLE_NODE_INDEX", "1",
      "CIRCLE_NODE_TOTAL", "2"},
     "w/t-3.11",
     1,
     2},
    // Azure: the position counts the entries of a matrix and the slices of `parallel` alike.
    {{"TF_BUILD", "1", "BUILD_BUILDID", "7", "SYSTEM_PHASENAME", "t", "SYSTEM_JOBNAME", "py311",
      "SYSTEM_JOBPOSITIONINPHASE", "1", "SYSTEM_TOTALJOBSINPHASE", "2"},
     "7/t/py311",
     -1,
     1},
    {{"TF_BUILD", "1", "BUILD_BUILDID", "7", "SYSTEM_PHASENAME", "t", "SYSTEM_STAGENAME", "linux", "SYSTEM_JOBNAME",
      "Job2", "SYSTEM_JOBPOSITIONINPHASE", "2", "SYSTEM_TOTALJOBSINPHASE", "2"},
     "7/t/linux",
     1,
     2},
    {{"TF_BUILD", "1", "BUILD_BUILDID", "7", "SYSTEM_PHASENAME", "t", "SYSTEM_STAGENAME", "__default", "SYSTEM_JOBNAME",
      "__default", "SYSTEM_JOBPOSITIONINPHASE", "1", "SYSTEM_TOTALJOBSINPHASE", "1"},
     "7/t",
     0,
     1},
    {{"TF_BUILD", "1", "BUILD_BUILDID", "7", "SYSTEM_PHASENAME", "t", "SYSTEM_JOBNAME", "Jobs",
      "SYSTEM_JOBPOSITIONINPHASE", "2", "SYSTEM_TOTALJOBSINPHASE", "2"},
     "7/t/Jobs",
     -1,
     1},
    {{"BITBUCKET_COMMIT", "c", "BITBUCKET_BUILD_NUMBER", "5", "BITBUCKET_PARALLEL_STEP", "1",
      "BITBUCKET_PARALLEL_STEP_COUNT", "2"},
     "5",
     1,
     2},
    // Semaphore: index and count belong to parallelism, which a job with a matrix cannot have.
    {{"SEMAPHORE_WORKFLOW_ID", "w", "SEMAPHORE_JOB_NAME", "t - PY=3.11"}, "w/t - PY=3.11", -1, 1},
    {{"SEMAPHORE_WORKFLOW_ID", "w", "SEMAPHORE_JOB_NAME", "t [3.11]"}, "w/t [3.11]", -1, 1},
    {{"CI", "woodpecker", "CI_PIPELINE_NUMBER", "3", "CI_WORKFLOW_NAME", "py311"}, "3/py311", -1, 0},
    {{"DRONE", "1", "DRONE_BUILD_NUMBER", "3", "DRONE_STAGE_NAME", "t 2/4"}, "3/t", -1, 0},
    {{"TRAVIS", "1", "TRAVIS_BUILD_ID", "8", "TRAVIS_OS_NAME", "linux", "TRAVIS_PYTHON_VERSION", "3.11"},
     "8/linux/3.11",
     -1,
     0},
    // A Jenkins matrix project has its axes in BUILD_TAG.
    {{"JENKINS_URL", "u", "BUILD_TAG", "jenkins-t-PY=3.11-4"}, "jenkins-t-PY=3.11-4", -1, 0},
    {{"CODEBUILD_BUILD_ARN", "a", "CODEBUILD_BUILD_ID", "i", "CODEBUILD_BATCH_BUILD_IDENTIFIER", "py311"}, "", -1, 0},
    {{"TEAMCITY_VERSION", "1"}, "", -1, 0},
    {{"JOB_COMPLETION_INDEX", "2"}, "", 2, 0},
    {{"SLURM_ARRAY_JOB_ID", "6", "SLURM_ARRAY_TASK_ID", "1", "SLURM_ARRAY_TASK_COUNT", "2"}, "6", 1, 2},
};

static void test_a_matrix_is_not_a_set_of_nodes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct ci_info info;
    char why[256];
    const char *vars[VARS];
    memcpy(vars, cases[i].vars, sizeof vars);
    if (ci_detect(look_up, vars, &info, why, sizeof why) < 0) fail_msg("case %zu: %s", i, why);
    if (strcmp(info.build, cases[i].build) != 0) fail_msg("case %zu: build %s", i, info.build);
    if (info.index != cases[i].index) fail_msg("case %zu: index %lld", i, (long long)info.index);
    if (info.total != cases[i].total) fail_msg("case %zu: total %u", i, info.total);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_matrix_is_not_a_set_of_nodes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
