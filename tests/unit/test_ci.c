// Unit tests of CI detection: an environment for each CI, bases, single jobs, re-runs, malformed and oversized values.
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

struct expected {
  const char *vars[VARS];  // name, value, …
  const char *name, *build, *node;
  int64_t index;
  uint32_t total;
  const char *attempt;
  enum ci_retried retried;
  const char *commit, *branch, *job_url;
};

static const char *look_up(const char *name, void *arg) {
  const char *const *vars = arg;
  for (; vars[0]; vars += 2)
    if (strcmp(vars[0], name) == 0) return vars[1];
  return NULL;
}

static const struct expected table[] = {
    {{NULL}, "none", "", "", -1, 0, "", CI_RETRIED_UNKNOWN, "", "", ""},
    {{"GITLAB_CI", "true", "CI_PIPELINE_ID", "99", "CI_JOB_GROUP_NAME", "rspec", "CI_NODE_INDEX", "2", "CI_NODE_TOTAL",
      "4", "CI_JOB_ID", "123", "CI_COMMIT_SHA", "abc"},
     "gitlab",
     "99/rspec",
     "1",
     1,
     4,
     "123",
     CI_RETRIED_UNKNOWN,
     "abc",
     "",
     ""},
    {{"GITLAB_CI", "true", "CI_PIPELINE_ID", "99", "CI_JOB_NAME", "rspec 2/4", "CI_NODE_INDEX", "4", "CI_NODE_TOTAL",
      "4", "CI_JOB_RETRY_COUNT", "1"},
     "gitlab",
     "99/rspec",
     "3",
     3,
     4,
     "",
     CI_RETRIED_YES,
     "",
     "",
     ""},
    {{"GITLAB_CI", "true", "CI_PIPELINE_ID", "99", "CI_JOB_NAME", "unit: [3.11, linux]", "CI_NODE_TOTAL", "1",
      "CI_JOB_RETRY_COUNT", "0"},
     "gitlab",
     "99/unit: [3.11, linux]",
     "",
     -1,
     1,
     "",
     CI_RETRIED_NO,
     "",
     "",
     ""},
    {{"BUILDKITE", "true", "BUILDKITE_BUILD_ID", "b", "BUILDKITE_STEP_ID", "s", "BUILDKITE_PARALLEL_JOB", "0",
      "BUILDKITE_PARALLEL_JOB_COUNT", "8", "BUILDKITE_JOB_ID", "j", "BUILDKITE_RETRY_COUNT", "0"},
     "buildkite",
     "b/s",
     "0",
     0,
     8,
     "j",
     CI_RETRIED_NO,
     "",
     "",
     ""},
    {{"BUILDKITE", "true", "BUILDKITE_BUILD_ID", "b", "BUILDKITE_STEP_ID", "s", "BUILDKITE_BUILD_URL", "https://b/1",
      "BUILDKITE_JOB_ID", "j", "BUILDKITE_RETRY_COUNT", "2"},
     "buildkite",
     "b/s",
     "",
     -1,
     1,
     "j",
     CI_RETRIED_YES,
     "",
     "",
     "https://b/1#j"},
    {{"GITHUB_ACTIONS", "true", "GITHUB_RUN_ID", "7", "GITHUB_JOB", "test", "GITHUB_RUN_ATTEMPT", "1",
      "GITHUB_REF_NAME", "main", "GITHUB_SERVER_URL", "https://h", "GITHUB_REPOSITORY", "o/r"},
     "github",
     "7/test",
     "",
     -1,
     0,
     "1",
     CI_RETRIED_NO,
     "",
     "main",
     "https://h/o/r/actions/runs/7"},
    {{"GITHUB_ACTIONS", "true", "GITHUB_RUN_ID", "7", "GITHUB_JOB", "test", "GITHUB_RUN_ATTEMPT", "3",
      "GITHUB_REF_NAME", "7/merge", "GITHUB_HEAD_REF", "topic", "GITHUB_SHA", "merge"},
     "github",
     "7/test",
     "",
     -1,
     0,
     "3",
     CI_RETRIED_YES,
     "merge",
     "topic",
     ""},
    {{"CIRCLECI", "true", "CIRCLE_WORKFLOW_WORKSPACE_ID", "w0", "CIRCLE_WORKFLOW_ID", "w1", "CIRCLE_JOB", "unit",
      "CIRCLE_NODE_INDEX", "0", "CIRCLE_NODE_TOTAL", "2"},
     "circleci",
     "w0/unit",
     "0",
     0,
     2,
     "w1",
     CI_RETRIED_UNKNOWN,
     "",
     "",
     ""},
    {{"TF_BUILD", "True", "BUILD_BUILDID", "55", "SYSTEM_PHASENAME", "Test", "SYSTEM_JOBPOSITIONINPHASE", "1",
      "SYSTEM_TOTALJOBSINPHASE", "3", "SYSTEM_JOBATTEMPT", "2", "BUILD_SOURCEBRANCH", "refs/heads/release/2"},
     "azure",
     "55/Test",
     "0",
     0,
     3,
     "2",
     CI_RETRIED_YES,
     "",
     "release/2",
     ""},
    {{"BITBUCKET_COMMIT", "c0", "BITBUCKET_BUILD_NUMBER", "12", "BITBUCKET_PARALLEL_STEP", "1",
      "BITBUCKET_PARALLEL_STEP_COUNT", "2", "BITBUCKET_STEP_RUN_NUMBER", "1"},
     "bitbucket",
     "12",
     "1",
     1,
     2,
     "1",
     CI_RETRIED_NO,
     "c0",
     "",
     ""},
    {{"SEMAPHORE_WORKFLOW_ID", "wf", "SEMAPHORE_JOB_NAME", "Tests - 3/4", "SEMAPHORE_JOB_INDEX", "3",
      "SEMAPHORE_JOB_COUNT", "4", "SEMAPHORE_JOB_ID", "jj", "SEMAPHORE_PIPELINE_RERUN", "false"},
     "semaphore",
     "wf/Tests",
     "2",
     2,
     4,
     "jj",
     CI_RETRIED_NO,
     "",
     "",
     ""},
    {{"CI", "woodpecker", "CI_PIPELINE_NUMBER", "4", "CI_COMMIT_SHA", "dd", "CI_COMMIT_BRANCH", "main"},
     "woodpecker",
     "4",
     "",
     -1,
     0,
     "",
     CI_RETRIED_UNKNOWN,
     "dd",
     "main",
     ""},
    {{"CI", "true", "DRONE", "true", "DRONE_BUILD_NUMBER", "9", "DRONE_COMMIT_SHA", "ee"},
     "drone",
     "9",
     "",
     -1,
     0,
     "",
     CI_RETRIED_UNKNOWN,
     "ee",
     "",
     ""},
    {{"CODEBUILD_BUILD_ARN", "arn:1", "CODEBUILD_BUILD_ID", "p:1", "CODEBUILD_RESOLVED_SOURCE_VERSION", "ff"},
     "codebuild",
     "p:1",
     "",
     -1,
     0,
     "arn:1",
     CI_RETRIED_UNKNOWN,
     "ff",
     "",
     ""},
    {{"CODEBUILD_BUILD_ARN", "arn:2", "CODEBUILD_BUILD_ID", "p:2", "CODEBUILD_BATCH_BUILD_IDENTIFIER", "part2"},
     "codebuild",
     "",
     "part2",
     -1,
     0,
     "arn:2",
     CI_RETRIED_UNKNOWN,
     "",
     "",
     ""},
    {{"TEAMCITY_VERSION", "2024", "BUILD_VCS_NUMBER", "aa"},
     "teamcity",
     "",
     "",
     -1,
     0,
     "",
     CI_RETRIED_UNKNOWN,
     "aa",
     "",
     ""},
    {{"TRAVIS", "true", "TRAVIS_BUILD_ID", "31", "TRAVIS_BRANCH", "m"},
     "travis",
     "31",
     "",
     -1,
     0,
     "",
     CI_RETRIED_UNKNOWN,
     "",
     "m",
     ""},
    {{"JENKINS_URL", "http://j", "BUILD_TAG", "jenkins-x-5", "EXECUTOR_NUMBER", "3", "GIT_BRANCH", "origin/m"},
     "jenkins",
     "jenkins-x-5",
     "",
     -1,
     0,
     "",
     CI_RETRIED_UNKNOWN,
     "",
     "m",
     ""},
    {{"JOB_COMPLETION_INDEX", "5", "HOSTNAME", "pod-5-x"},
     "kubernetes",
     "",
     "5",
     5,
     0,
     "pod-5-x",
     CI_RETRIED_UNKNOWN,
     "",
     "",
     ""},
    {{"SLURM_ARRAY_JOB_ID", "77", "SLURM_ARRAY_TASK_ID", "12", "SLURM_ARRAY_TASK_MIN", "4", "SLURM_ARRAY_TASK_STEP",
      "4", "SLURM_ARRAY_TASK_COUNT", "3"},
     "slurm",
     "77",
     "2",
     2,
     3,
     "0",
     CI_RETRIED_NO,
     "",
     "",
     ""},
    {{"SLURM_ARRAY_JOB_ID", "77", "SLURM_ARRAY_TASK_ID", "17", "SLURM_ARRAY_TASK_MIN", "1", "SLURM_ARRAY_TASK_COUNT",
      "3", "SLURM_RESTART_COUNT", "1"},
     "slurm",
     "77",
     "16",
     16,
     3,
     "1",
     CI_RETRIED_YES,
     "",
     "",
     ""},
};

static void *env_of(const char *const *vars) {
  union {
    const char *const *in;
    void *out;
  } cast = {.in = vars};
  return cast.out;
}

static void test_each_ci(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(table); i++) {
    const struct expected *want = &table[i];
    struct ci_info info;
    char why[256] = "";
    if (ci_detect(look_up, env_of(want->vars), &info, why, sizeof(why)) < 0) fail_msg("row %zu: %s", i, why);
    assert_string_equal(info.name, want->name);
    assert_string_equal(info.build, want->build);
    assert_string_equal(info.node, want->node);
    assert_int_equal(info.index, want->index);
    assert_int_equal(info.total, want->total);
    assert_string_equal(info.attempt, want->attempt);
    assert_int_equal(info.retried, want->retried);
    assert_string_equal(info.commit, want->commit);
    assert_string_equal(info.branch, want->branch);
    assert_string_equal(info.job_url, want->job_url);
  }
}

// Every name of the module has a row here, so that a new CI comes with its test.
static void test_every_name_is_tested(void **state) {
  (void)state;
  for (size_t i = 0; ci_name(i); i++) {
    bool found = false;
    for (size_t k = 0; k < COUNT_OF(table); k++)
      found = found || strcmp(table[k].name, ci_name(i)) == 0;
    if (!found) fail_msg("no test for %s", ci_name(i));
  }
}

static void refuse(const char *const *vars, const char *variable) {
  struct ci_info info, before;
  memset(&info, 0x5a, sizeof(info));
  before = info;
  char why[256] = "";
  assert_int_equal(ci_detect(look_up, env_of(vars), &info, why, sizeof(why)), -1);
  if (!strstr(why, variable)) fail_msg("'%s' does not name %s", why, variable);
  assert_memory_equal(&info, &before, sizeof(info));
}

static void test_malformed_numbers(void **state) {
  (void)state;
  static const char *const values[] = {"0", "-1", "x", "1x", " 1", "5", "99999999999999999999", "1.0", "0x1"};
  for (size_t i = 0; i < COUNT_OF(values); i++) {
    const char *vars[] = {"GITLAB_CI", "true", "CI_NODE_INDEX", values[i], "CI_NODE_TOTAL", "4", NULL};
    refuse(vars, "CI_NODE_INDEX");
  }
  refuse((const char *const[]){"GITLAB_CI", "1", "CI_NODE_INDEX", "1", "CI_NODE_TOTAL", "0", NULL}, "CI_NODE_TOTAL");
  refuse((const char *const[]){"BUILDKITE", "1", "BUILDKITE_RETRY_COUNT", "a", NULL}, "BUILDKITE_RETRY_COUNT");
  refuse((const char *const[]){"GITHUB_ACTIONS", "1", "GITHUB_RUN_ATTEMPT", "0", NULL}, "GITHUB_RUN_ATTEMPT");
  refuse(
      (const char *const[]){"SLURM_ARRAY_JOB_ID", "1", "SLURM_ARRAY_TASK_ID", "2", "SLURM_ARRAY_TASK_MIN", "3", NULL},
      "SLURM_ARRAY_TASK_ID");
}

static void test_too_long(void **state) {
  (void)state;
  char *text = base_malloc(3000);
  memset(text, 'x', 2999);
  text[2999] = '\0';
  refuse((const char *const[]){"JENKINS_URL", "1", "BUILD_TAG", text, NULL}, "BUILD_TAG");
  refuse((const char *const[]){"GITHUB_ACTIONS", "1", "GITHUB_RUN_ID", "1", "GITHUB_JOB", text, NULL}, "GITHUB_JOB");
  refuse((const char *const[]){"GITLAB_CI", "1", "CI_JOB_ID", text, NULL}, "CI_JOB_ID");
  const char *vars[] = {"JENKINS_URL", "1", "GIT_BRANCH", text, "BUILD_URL", text, "GIT_COMMIT", text, NULL};
  struct ci_info info;
  char why[256];
  assert_int_equal(ci_detect(look_up, env_of(vars), &info, why, sizeof(why)), 0);
  assert_int_equal(strlen(info.branch), CI_NAME_BYTES - 1);
  assert_int_equal(strlen(info.commit), CI_TOKEN_BYTES - 1);
  assert_string_equal(info.job_url, "");  // half a link is none
  free(text);
}

static void test_empty_values_are_unset(void **state) {
  (void)state;
  const char *vars[] = {"GITLAB_CI", "", "GITHUB_ACTIONS", "true", "GITHUB_RUN_ID", "", NULL};
  struct ci_info info;
  char why[256];
  assert_int_equal(ci_detect(look_up, env_of(vars), &info, why, sizeof(why)), 0);
  assert_string_equal(info.name, "github");
  assert_string_equal(info.build, "");
}

static void test_forks(void **state) {
  static const struct {
    const char *vars[VARS];
    bool fork;
  } cases[] = {
      {{"GITLAB_CI", "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "7", "CI_MERGE_REQUEST_PROJECT_ID", "7"}, false},
      {{"GITLAB_CI", "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "8", "CI_MERGE_REQUEST_PROJECT_ID", "7"}, true},
      {{"GITLAB_CI", "1", "CI_MERGE_REQUEST_PROJECT_ID", "7"}, false},
      {{"CIRCLECI", "1", "CIRCLE_PR_USERNAME", "someone"}, true},
      {{"TF_BUILD", "1", "SYSTEM_PULLREQUEST_ISFORK", "False"}, false},
      {{"TF_BUILD", "1", "SYSTEM_PULLREQUEST_ISFORK", "True"}, true},
      {{"SEMAPHORE_WORKFLOW_ID", "w", "SEMAPHORE_GIT_PR_SLUG", "a/x", "SEMAPHORE_GIT_REPO_SLUG", "b/x"}, true},
      {{"TRAVIS", "1", "TRAVIS_PULL_REQUEST_SLUG", "", "TRAVIS_REPO_SLUG", "b/x"}, false},
      {{"JENKINS_URL", "u", "CHANGE_FORK", "someone"}, true},
      {{"BUILDKITE", "1"}, false},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct ci_info info;
    char why[256];
    assert_int_equal(ci_detect(look_up, env_of(cases[i].vars), &info, why, sizeof why), 0);
    if (info.fork != cases[i].fork) fail_msg("case %zu", i);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forks),
      cmocka_unit_test(test_each_ci),
      cmocka_unit_test(test_every_name_is_tested),
      cmocka_unit_test(test_malformed_numbers),
      cmocka_unit_test(test_too_long),
      cmocka_unit_test(test_empty_values_are_unset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
