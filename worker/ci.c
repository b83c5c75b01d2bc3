// CI detection: one table says for each CI which variable gives which fact, and one reader interprets it. Called once
// by run.c. It must not read the environment itself nor know what the facts are used for. To add a CI, add a row.
// Sources: the CIs' own lists of predefined variables. The order matters: a CI whose detector another CI also sets
// comes later.
#include "worker/ci.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CHOICES = 3, URL_PARTS = 5 };

struct ci_row {
  const char *name;
  const char *detect;             // set and not empty: this CI
  const char *detect_value;       // … and of this value; NULL: any
  const char *pipeline[CHOICES];  // first that is set
  const char *group[CHOICES];     // first that is set; joined to the pipeline with "/"
  bool trim_group;                // cut " 2/5" and " [a, b]", which a name has from its place among parallel jobs
  const char *no_build_if;        // set: the pipeline is no key that parallel jobs share
  const char *index, *total;
  uint32_t index_base;
  const char *index_min, *index_step;  // variables: the index counts from the first in steps of the second
  const char *node;                    // name of the job where there is no index
  const char *attempt[CHOICES];
  const char *attempt_default;  // where no variable is set
  const char *runs;             // number of the run of this job …
  uint32_t runs_base;           // … which is this on the first
  const char *rerun_flag;       // "true" or "false"
  const char *commit[CHOICES], *branch[CHOICES];
  const char *fork_flag;       // set, and not to "false": the code is a fork's
  const char *fork_pair[2];    // both set and different: the code is a fork's
  const char *url[URL_PARTS];  // names of variables; those that begin with "=" are literal; all or nothing
};

static const struct ci_row rows[] = {
    {.name = "gitlab",
     .detect = "GITLAB_CI",
     .pipeline = {"CI_PIPELINE_ID"},
     .group = {"CI_JOB_GROUP_NAME", "CI_JOB_NAME"},
     .trim_group = true,
     .index = "CI_NODE_INDEX",
     .total = "CI_NODE_TOTAL",
     .index_base = 1,
     .attempt = {"CI_JOB_ID"},
     .runs = "CI_JOB_RETRY_COUNT",
     .fork_pair = {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "CI_MERGE_REQUEST_PROJECT_ID"},
     .commit = {"CI_COMMIT_SHA"},
     .branch = {"CI_COMMIT_REF_NAME"},
     .url = {"CI_JOB_URL"}},
    {.name = "buildkite",
     .detect = "BUILDKITE",
     .pipeline = {"BUILDKITE_BUILD_ID"},
     .group = {"BUILDKITE_STEP_ID"},
     .index = "BUILDKITE_PARALLEL_JOB",
     .total = "BUILDKITE_PARALLEL_JOB_COUNT",
     .attempt = {"BUILDKITE_JOB_ID", "BUILDKITE_RETRY_COUNT"},
     .runs = "BUILDKITE_RETRY_COUNT",
     .commit = {"BUILDKITE_COMMIT"},
     .branch = {"BUILDKITE_BRANCH"},
     .url = {"BUILDKITE_BUILD_URL", "=#", "BUILDKITE_JOB_ID"}},
    {.name = "github",
     .detect = "GITHUB_ACTIONS",
     .pipeline = {"GITHUB_RUN_ID"},
     .group = {"GITHUB_JOB"},
     .attempt = {"GITHUB_RUN_ATTEMPT"},
     .runs = "GITHUB_RUN_ATTEMPT",
     .runs_base = 1,
     .commit = {"GITHUB_SHA"},
     .branch = {"GITHUB_HEAD_REF", "GITHUB_REF_NAME"},
     .url = {"GITHUB_SERVER_URL", "=/", "GITHUB_REPOSITORY", "=/actions/runs/", "GITHUB_RUN_ID"}},
    {.name = "circleci",
     .detect = "CIRCLECI",
     .pipeline = {"CIRCLE_WORKFLOW_WORKSPACE_ID", "CIRCLE_WORKFLOW_ID"},
     .group = {"CIRCLE_JOB"},
     .index = "CIRCLE_NODE_INDEX",
     .total = "CIRCLE_NODE_TOTAL",
     .attempt = {"CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_NUM"},
     .commit = {"CIRCLE_SHA1"},
     .branch = {"CIRCLE_BRANCH"},
     .fork_flag = "CIRCLE_PR_USERNAME",
     .url = {"CIRCLE_BUILD_URL"}},
    {.name = "azure",
     .detect = "TF_BUILD",
     .pipeline = {"BUILD_BUILDID"},
     .group = {"SYSTEM_PHASENAME"},
     .index = "SYSTEM_JOBPOSITIONINPHASE",
     .total = "SYSTEM_TOTALJOBSINPHASE",
     .index_base = 1,
     .attempt = {"SYSTEM_JOBATTEMPT"},
     .runs = "SYSTEM_JOBATTEMPT",
     .runs_base = 1,
     .commit = {"BUILD_SOURCEVERSION"},
     .branch = {"SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH"},
     .fork_flag = "SYSTEM_PULLREQUEST_ISFORK",
     .url = {"SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "SYSTEM_TEAMPROJECT", "=/_build/results?buildId=", "BUILD_BUILDID"}},
    {.name = "bitbucket",
     .detect = "BITBUCKET_COMMIT",
     .pipeline = {"BITBUCKET_BUILD_NUMBER"},
     .index = "BITBUCKET_PARALLEL_STEP",
     .total = "BITBUCKET_PARALLEL_STEP_COUNT",
     .attempt = {"BITBUCKET_STEP_RUN_NUMBER"},
     .runs = "BITBUCKET_STEP_RUN_NUMBER",
     .runs_base = 1,
     .commit = {"BITBUCKET_COMMIT"},
     .branch = {"BITBUCKET_BRANCH"},
     .url = {"BITBUCKET_GIT_HTTP_ORIGIN", "=/pipelines/results/", "BITBUCKET_BUILD_NUMBER"}},
    {.name = "semaphore",
     .detect = "SEMAPHORE_WORKFLOW_ID",
     .pipeline = {"SEMAPHORE_WORKFLOW_ID"},
     .group = {"SEMAPHORE_JOB_NAME"},
     .trim_group = true,
     .index = "SEMAPHORE_JOB_INDEX",
     .total = "SEMAPHORE_JOB_COUNT",
     .index_base = 1,
     .attempt = {"SEMAPHORE_JOB_ID"},
     .rerun_flag = "SEMAPHORE_PIPELINE_RERUN",
     .commit = {"SEMAPHORE_GIT_SHA"},
     .branch = {"SEMAPHORE_GIT_PR_BRANCH", "SEMAPHORE_GIT_BRANCH"},
     .fork_pair = {"SEMAPHORE_GIT_PR_SLUG", "SEMAPHORE_GIT_REPO_SLUG"},
     .url = {"SEMAPHORE_ORGANIZATION_URL", "=/jobs/", "SEMAPHORE_JOB_ID"}},
    {.name = "woodpecker",
     .detect = "CI",
     .detect_value = "woodpecker",
     .pipeline = {"CI_PIPELINE_NUMBER"},
     .commit = {"CI_COMMIT_SHA"},
     .branch = {"CI_COMMIT_SOURCE_BRANCH", "CI_COMMIT_BRANCH"},
     .url = {"CI_PIPELINE_URL"}},
    {.name = "drone",
     .detect = "DRONE",
     .pipeline = {"DRONE_BUILD_NUMBER"},
     .commit = {"DRONE_COMMIT_SHA"},
     .branch = {"DRONE_SOURCE_BRANCH", "DRONE_BRANCH"},
     .url = {"DRONE_BUILD_LINK"}},
    {.name = "codebuild",
     .detect = "CODEBUILD_BUILD_ARN",
     .pipeline = {"CODEBUILD_BUILD_ID", "CODEBUILD_BUILD_ARN"},
     .no_build_if = "CODEBUILD_BATCH_BUILD_IDENTIFIER",
     .node = "CODEBUILD_BATCH_BUILD_IDENTIFIER",
     .attempt = {"CODEBUILD_BUILD_ARN"},
     .commit = {"CODEBUILD_RESOLVED_SOURCE_VERSION", "CODEBUILD_SOURCE_VERSION"},
     .branch = {"CODEBUILD_WEBHOOK_HEAD_REF"},
     .url = {"CODEBUILD_BUILD_URL"}},
    {.name = "teamcity", .detect = "TEAMCITY_VERSION", .commit = {"BUILD_VCS_NUMBER"}},
    {.name = "travis",
     .detect = "TRAVIS",
     .pipeline = {"TRAVIS_BUILD_ID"},
     .commit = {"TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"},
     .branch = {"TRAVIS_PULL_REQUEST_BRANCH", "TRAVIS_BRANCH"},
     .fork_pair = {"TRAVIS_PULL_REQUEST_SLUG", "TRAVIS_REPO_SLUG"},
     .url = {"TRAVIS_JOB_WEB_URL"}},
    {.name = "jenkins",
     .detect = "JENKINS_URL",
     .pipeline = {"BUILD_TAG"},
     .commit = {"GIT_COMMIT"},
     .branch = {"CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"},
     .fork_flag = "CHANGE_FORK",
     .url = {"BUILD_URL"}},
    {.name = "kubernetes", .detect = "JOB_COMPLETION_INDEX", .index = "JOB_COMPLETION_INDEX", .attempt = {"HOSTNAME"}},
    {.name = "slurm",
     .detect = "SLURM_ARRAY_JOB_ID",
     .pipeline = {"SLURM_ARRAY_JOB_ID"},
     .index = "SLURM_ARRAY_TASK_ID",
     .total = "SLURM_ARRAY_TASK_COUNT",
     .index_min = "SLURM_ARRAY_TASK_MIN",
     .index_step = "SLURM_ARRAY_TASK_STEP",
     .attempt = {"SLURM_RESTART_COUNT"},
     .attempt_default = "0",
     .runs = "SLURM_RESTART_COUNT"},
    {.name = "none"},
};

struct reader {
  const struct ci_row *row;
  ci_lookup *lookup;
  void *arg;
  struct ci_info *info;
  char *why;
  size_t why_size;
};

static const struct ci_row *find_row(ci_lookup *lookup, void *arg);
static const char *get(const struct reader *r, const char *name);
static const char *first_of(const struct reader *r, const char *const names[CHOICES], const char **which);
static int read_number(struct reader *r, const char *name, uint64_t min, uint64_t fallback, uint64_t *out);
static int read_build(struct reader *r);
static size_t trimmed_bytes(const char *group);
static int read_place(struct reader *r);
static int place_in_range(struct reader *r, uint64_t base, uint64_t *index);
static int read_attempt(struct reader *r);
static void read_facts(struct reader *r);
static void copy_cut(char *out, size_t out_size, const char *text);
static void read_url(struct reader *r);
static int too_long(struct reader *r, const char *name, size_t max_bytes);

int ci_detect(ci_lookup *lookup, void *arg, struct ci_info *info, char *why, size_t why_size) {
  struct ci_info found = {.index = -1};
  struct reader r = {.lookup = lookup, .arg = arg, .info = &found, .why = why, .why_size = why_size};
  r.row = find_row(lookup, arg);
  found.name = r.row->name;
  if (read_build(&r) < 0 || read_place(&r) < 0 || read_attempt(&r) < 0) return -1;
  read_facts(&r);
  *info = found;
  return 0;
}

const char *ci_getenv(const char *name, void *arg) {
  (void)arg;
  return getenv(name);
}

const char *ci_name(size_t i) {
  return i < COUNT_OF(rows) ? rows[i].name : NULL;
}

static const struct ci_row *find_row(ci_lookup *lookup, void *arg) {
  const struct ci_row *row = rows;
  for (; row->detect; row++) {
    const char *value = lookup(row->detect, arg);
    if (value && *value && (!row->detect_value || strcmp(value, row->detect_value) == 0)) break;
  }
  return row;
}

// A variable's value; NULL when it is unset, empty or not asked for.
static const char *get(const struct reader *r, const char *name) {
  const char *value = name ? r->lookup(name, r->arg) : NULL;
  return value && *value ? value : NULL;
}

static const char *first_of(const struct reader *r, const char *const names[CHOICES], const char **which) {
  for (size_t i = 0; i < CHOICES && names[i]; i++) {
    const char *value = get(r, names[i]);
    if (!value) continue;
    if (which) *which = names[i];
    return value;
  }
  return NULL;
}

static int read_number(struct reader *r, const char *name, uint64_t min, uint64_t fallback, uint64_t *out) {
  const char *value = get(r, name);
  if (!value) {
    *out = fallback;
    return 0;
  }
  if (base_parse_u64(value, min, CI_NODES_MAX, out) == 0) return 0;
  char quoted[96];
  base_quote(quoted, sizeof(quoted), value, strlen(value));
  (void)snprintf(r->why, r->why_size, "environment variable %s (%s) is %s, which is no number from %" PRIu64 " to %d",
                 name, r->row->name, quoted, min, CI_NODES_MAX);
  return -1;
}

static int read_build(struct reader *r) {
  const char *which = NULL, *group_which = NULL;
  const char *pipeline = first_of(r, r->row->pipeline, &which);
  if (!pipeline || get(r, r->row->no_build_if)) return 0;
  const char *group = first_of(r, r->row->group, &group_which);
  size_t room = sizeof(r->info->build) - 1, pipeline_bytes = strlen(pipeline);
  size_t group_bytes = !group ? 0 : r->row->trim_group ? trimmed_bytes(group) : strlen(group);
  if (pipeline_bytes >= room) return too_long(r, which, room - 1);
  if (pipeline_bytes + 1 + group_bytes > room) return too_long(r, group_which, room - pipeline_bytes - 1);
  memcpy(r->info->build, pipeline, pipeline_bytes);
  if (!group) return 0;
  r->info->build[pipeline_bytes] = '/';
  memcpy(r->info->build + pipeline_bytes + 1, group, group_bytes);
  return 0;
}

// Bytes of a job's name without its place among parallel jobs: "rspec 2/5", "rspec - 2/5", "rspec: [a, b] 2/5".
static size_t trimmed_bytes(const char *group) {
  size_t end = strlen(group);
  size_t at = end;
  while (at > 0 && strchr("0123456789", group[at - 1]))
    at--;
  if (at < end && at > 0 && group[at - 1] == '/') {
    size_t digits = --at;
    while (at > 0 && strchr("0123456789", group[at - 1]))
      at--;
    if (at < digits && at > 0 && strchr(" :", group[at - 1])) end = at;
  }
  while (end > 0 && strchr(" :-", group[end - 1]))
    end--;
  const char *bracket = end > 0 && group[end - 1] == ']' ? strchr(group, '[') : NULL;
  if (bracket && bracket > group && strchr(" :", bracket[-1])) end = (size_t)(bracket - group);
  while (end > 0 && strchr(" :-", group[end - 1]))
    end--;
  return end ? end : strlen(group);
}

// A CI that numbers its parallel jobs and gives no number runs a job without parallel: one node.
static int read_place(struct reader *r) {
  const struct ci_row *row = r->row;
  uint64_t total = 0, index = 0, base = row->index_base;
  if (read_number(r, row->total, 1, 0, &total) < 0) return -1;
  const char *name = get(r, row->node);
  if (name) copy_cut(r->info->node, sizeof(r->info->node), name);
  r->info->total = (uint32_t)total;
  if (!row->index) return 0;
  if (!get(r, row->index)) {
    r->info->total = total ? (uint32_t)total : 1;
    return 0;
  }
  if (row->index_min && read_number(r, row->index_min, 0, 0, &base) < 0) return -1;
  if (read_number(r, row->index, base, base, &index) < 0) return -1;
  if (place_in_range(r, base, &index) < 0) return -1;
  r->info->index = (int64_t)index;
  (void)snprintf(r->info->node, sizeof(r->info->node), "%" PRIu64, index);
  return 0;
}

// From the CI's own number to the 0-based index.
static int place_in_range(struct reader *r, uint64_t base, uint64_t *index) {
  const struct ci_row *row = r->row;
  uint64_t step = 1, place = *index - base;
  if (read_number(r, row->index_step, 1, 1, &step) < 0) return -1;
  place /= step;
  // A Slurm array may be a list with gaps (1,3,17): its places are names, not counts.
  if (r->info->total && place >= r->info->total && !row->index_min) {
    (void)snprintf(r->why, r->why_size,
                   "environment variable %s (%s) is %" PRIu64
                   ", which is beyond the %u jobs of %s: set --node and "
                   "--total, or correct it",
                   row->index, row->name, *index, r->info->total, row->total);
    return -1;
  }
  *index = place;
  return 0;
}

static int read_attempt(struct reader *r) {
  const char *which = NULL;
  const char *attempt = first_of(r, r->row->attempt, &which);
  if (!attempt) attempt = r->row->attempt_default ? r->row->attempt_default : "";
  size_t bytes = strlen(attempt);
  if (bytes >= sizeof(r->info->attempt)) return too_long(r, which, sizeof(r->info->attempt) - 1);
  memcpy(r->info->attempt, attempt, bytes);
  if (get(r, r->row->runs)) {
    uint64_t runs = 0;
    if (read_number(r, r->row->runs, r->row->runs_base, 0, &runs) < 0) return -1;
    r->info->retried = runs > r->row->runs_base ? CI_RETRIED_YES : CI_RETRIED_NO;
    return 0;
  }
  if (r->row->attempt_default) r->info->retried = CI_RETRIED_NO;
  const char *flag = get(r, r->row->rerun_flag);
  if (flag && strcmp(flag, "true") == 0) r->info->retried = CI_RETRIED_YES;
  if (flag && strcmp(flag, "false") == 0) r->info->retried = CI_RETRIED_NO;
  return 0;
}

// Some tell the whole name of the ref, and Jenkins' GIT_BRANCH has the remote in front.
static const char *short_branch(const struct reader *r, const char *branch) {
  static const char ref[] = "refs/heads/", remote[] = "origin/";
  if (strncmp(branch, ref, sizeof ref - 1) == 0) branch += sizeof ref - 1;
  bool jenkins = strcmp(r->row->name, "jenkins") == 0;
  return jenkins && strncmp(branch, remote, sizeof remote - 1) == 0 ? branch + sizeof remote - 1 : branch;
}

// What is only told to people is cut where it is too long.
static void read_facts(struct reader *r) {
  const char *commit = first_of(r, r->row->commit, NULL), *branch = first_of(r, r->row->branch, NULL);
  if (commit) copy_cut(r->info->commit, sizeof(r->info->commit), commit);
  if (branch) copy_cut(r->info->branch, sizeof(r->info->branch), short_branch(r, branch));
  const char *flag = get(r, r->row->fork_flag), *from = get(r, r->row->fork_pair[0]),
             *to = get(r, r->row->fork_pair[1]);
  r->info->fork = (flag && strcasecmp(flag, "false") != 0) || (from && to && strcmp(from, to) != 0);
  read_url(r);
}

static void copy_cut(char *out, size_t out_size, const char *text) {
  (void)snprintf(out, out_size, "%s", text);
}

static void read_url(struct reader *r) {
  char *url = r->info->job_url;
  for (size_t i = 0; i < URL_PARTS && r->row->url[i]; i++) {
    const char *part = r->row->url[i];
    const char *value = part[0] == '=' ? part + 1 : get(r, part);
    size_t used = strlen(url);
    if (!value || strlen(value) >= sizeof(r->info->job_url) - used) {
      url[0] = '\0';
      return;
    }
    memcpy(url + used, value, strlen(value) + 1);
  }
}

static int too_long(struct reader *r, const char *name, size_t max_bytes) {
  (void)snprintf(r->why, r->why_size, "environment variable %s (%s) is longer than %zu bytes: set --build", name,
                 r->row->name, max_bytes);
  return -1;
}
