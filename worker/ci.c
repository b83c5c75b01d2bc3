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

enum { CHOICES = 3, URL_PARTS = 5, VARIANTS = 10 };

struct ci_row {
  const char *name;
  const char *detect;             // set and not empty: this CI
  const char *detect_value;       // … and of this value; NULL: any
  const char *pipeline[CHOICES];  // first that is set
  const char *group[CHOICES];     // first that is set; joined to the pipeline with "/"
  bool trim_group;                // cut " 2/5", which a name has from its place among parallel jobs
  bool matrix_in_group;           // " [a, b]" names the job's place in a matrix, which the index then counts as well
  const char *variant[VARIANTS];  // what else tells an entry of a matrix: joined to the key where they are set
  const char *variant_unless;     // set: the job is one of parallel nodes, and those do not count
  const char *leg;                // name of the entry of a matrix, or of a slice, which leg_is_slice tells apart
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
     .group = {"CI_JOB_NAME", "CI_JOB_GROUP_NAME"},
     .trim_group = true,
     .matrix_in_group = true,
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
     .variant = {"BUILDKITE_LABEL"},
     .variant_unless = "BUILDKITE_PARALLEL_JOB_COUNT",
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
     .variant = {"SYSTEM_STAGENAME"},
     .leg = "SYSTEM_JOBNAME",
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
     .group = {"CI_WORKFLOW_NAME"},
     .trim_group = true,
     .commit = {"CI_COMMIT_SHA"},
     .branch = {"CI_COMMIT_SOURCE_BRANCH", "CI_COMMIT_BRANCH"},
     .url = {"CI_PIPELINE_URL"}},
    {.name = "drone",
     .detect = "DRONE",
     .pipeline = {"DRONE_BUILD_NUMBER"},
     .group = {"DRONE_STAGE_NAME"},
     .trim_group = true,
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
     .variant = {"TRAVIS_OS_NAME", "TRAVIS_CPU_ARCH", "TRAVIS_PYTHON_VERSION", "TRAVIS_RUBY_VERSION",
                 "TRAVIS_NODE_VERSION", "TRAVIS_GO_VERSION", "TRAVIS_PHP_VERSION", "TRAVIS_JDK_VERSION",
                 "TRAVIS_RUST_VERSION", "TRAVIS_PERL_VERSION"},
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
static int add_to_key(struct reader *r, const char *which, const char *text, size_t bytes);
static int add_variants(struct reader *r);
static const char *matrix_leg(const struct reader *r);
static size_t trimmed_bytes(const char *group, size_t *place);
static int read_place(struct reader *r);
static bool in_matrix(const struct reader *r, const char **place);
static int read_place_in_name(struct reader *r, const char *place);
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
  const char *which = NULL;
  const char *pipeline = first_of(r, r->row->pipeline, &which);
  if (!pipeline || get(r, r->row->no_build_if)) return 0;
  if (add_to_key(r, which, pipeline, strlen(pipeline)) < 0) return -1;
  const char *group = first_of(r, r->row->group, &which);
  size_t bytes = !group ? 0 : r->row->trim_group ? trimmed_bytes(group, NULL) : strlen(group);
  if (group && add_to_key(r, which, group, bytes) < 0) return -1;
  return add_variants(r);
}

// Joins a part to the key with "/".
static int add_to_key(struct reader *r, const char *which, const char *text, size_t bytes) {
  size_t used = strlen(r->info->build), room = sizeof(r->info->build) - 1;
  bool joins = used > 0;
  if (used + joins + bytes > room || bytes >= room) return too_long(r, which, room - used - 1);
  if (joins) r->info->build[used++] = '/';
  memcpy(r->info->build + used, text, bytes);
  return 0;
}

static int add_variants(struct reader *r) {
  bool counts = !get(r, r->row->variant_unless);
  for (size_t i = 0; counts && i < VARIANTS && r->row->variant[i]; i++) {
    const char *value = get(r, r->row->variant[i]);
    if (!value || strcmp(value, "__default") == 0) continue;  // a stage that Azure made
    if (add_to_key(r, r->row->variant[i], value, strlen(value)) < 0) return -1;
  }
  const char *leg = matrix_leg(r);
  return leg ? add_to_key(r, r->row->leg, leg, strlen(leg)) : 0;
}

// Azure names the entries of a matrix as the user did, the slices of `parallel` Job1, Job2, …, and the only job of a
// phase __default or as the phase. NULL: it is not of a matrix.
static const char *matrix_leg(const struct reader *r) {
  const char *leg = get(r, r->row->leg), *phase = first_of(r, r->row->group, NULL);
  if (!leg || strcmp(leg, "__default") == 0 || (phase && strcmp(leg, phase) == 0)) return NULL;
  bool slice = strncasecmp(leg, "job", 3) == 0 && leg[3] && strspn(leg + 3, "0123456789") == strlen(leg + 3);
  return slice ? NULL : leg;
}

// Bytes of a job's name without its place among parallel jobs: "rspec 2/5", "rspec - 2/5", "rspec: [a, b] 2/5". What
// stands in brackets is a place in a matrix, and stays. *place: where the "2/5" begins, or the name's length.
static size_t trimmed_bytes(const char *group, size_t *place) {
  size_t length = strlen(group), end = length, at = length;
  while (at > 0 && strchr("0123456789", group[at - 1]))
    at--;
  if (at < end && at > 0 && group[at - 1] == '/') {
    size_t digits = --at;
    while (at > 0 && strchr("0123456789", group[at - 1]))
      at--;
    if (at < digits && at > 0 && strchr(" :", group[at - 1])) end = at;
  }
  if (place) *place = end;
  while (end > 0 && strchr(" :-", group[end - 1]))
    end--;
  return end ? end : length;
}

// GitLab's name of a job in a matrix: "rspec: [a, b]", or with a place "rspec: [a, b] 2/5", which *place then points at
// ("": it has none).
static bool in_matrix(const struct reader *r, const char **place) {
  const char *group = r->row->matrix_in_group ? first_of(r, r->row->group, NULL) : NULL;
  size_t at;
  if (!group) return false;
  size_t bytes = trimmed_bytes(group, &at);
  *place = group + at;
  const char *bracket = strchr(group, '[');
  return bytes > 0 && group[bytes - 1] == ']' && bracket && bracket > group && strchr(" :", bracket[-1]);
}

// A CI that numbers its parallel jobs and gives no number runs a job without parallel: one node.
static int read_place(struct reader *r) {
  const struct ci_row *row = r->row;
  const char *place;
  uint64_t total = 0, index = 0, base = row->index_base;
  if (in_matrix(r, &place)) return read_place_in_name(r, place);
  if (matrix_leg(r)) return read_place_in_name(r, "");
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

// The CI's index counts the entries of the matrix, each of which is a build of its own: what is a node stands in the
// name alone.
static int read_place_in_name(struct reader *r, const char *place) {
  uint64_t number = 1, total = 1;
  char *slash;
  r->info->total = 1;
  if (!*place) return 0;
  number = strtoull(place, &slash, 10);
  if (*slash == '/') total = strtoull(slash + 1, NULL, 10);
  if (number < 1 || number > total || total > CI_NODES_MAX) return 0;
  r->info->total = (uint32_t)total;
  r->info->index = (int64_t)number - 1;
  (void)snprintf(r->info->node, sizeof(r->info->node), "%" PRId64, r->info->index);
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
