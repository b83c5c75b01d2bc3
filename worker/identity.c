// The names a worker goes by. Called by run.c and dryrun.c. It must not know what the server does with them.
#include "worker/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/human.h"

static void identity_choose(char *out, size_t out_size, const char *option, const char *ci) {
  snprintf(out, out_size, "%s", option[0] ? option : ci);
}

static int identity_build(struct identity *identity, const struct options *options, struct conf_error *error) {
  const char *key = options->build[0] ? options->build : identity->ci.build, *variant = options->variant;
  int n = snprintf(identity->build, sizeof identity->build, "%s%s%s", key, variant[0] ? "/" : "", variant);
  if (key[0] && (size_t)n < sizeof identity->build) return 0;
  if (key[0]) {
    snprintf(error->text, sizeof error->text, "the key of the build and its variant are longer than %zu bytes",
             sizeof identity->build - 1);
    return -1;
  }
  snprintf(error->text, sizeof error->text,
           "which build is this? %s%s%s does not tell: set --build or SHARD_BUILD to something that all parallel jobs "
           "of one "
           "CI run share and no other run has",
           strcmp(identity->ci.name, "none") == 0 ? "no CI was recognised; the environment" : "the environment of ",
           strcmp(identity->ci.name, "none") == 0 ? "" : identity->ci.name, "");
  return -1;
}

// NAME=COUNT, or NAME, of which there is one as of all that are not named.
static int identity_token(struct identity *identity, const char *item, struct conf_error *error) {
  const char *equals = strrchr(item, '='), *why = NULL;
  size_t n = equals ? (size_t)(equals - item) : strlen(item);
  uint64_t count = 1;
  if (equals && base_parse_u64(equals + 1, 1, 1000000, &count) != 0) why = "the count is no number from 1 to 1000000";
  if (n == 0 || n >= MSG_NAME_MAX_BYTES || memchr(item, '=', n) || memchr(item, '\n', n)) why = "that is no name";
  if (n == strlen("exclusive") && strncmp(item, "exclusive", n) == 0) why = "it is no token that can be counted";
  if (identity->tokens == MSG_TOKENS_MAX) why = "there are more than 62";
  if (why) {
    char shown[200];
    snprintf(error->text, sizeof error->text, "tokens: %s: %s; give NAME=COUNT, as in db=2",
             base_quote(shown, sizeof shown, item, strlen(item)), why);
    return -1;
  }
  identity->token[identity->tokens] = msg_bytes(item, n);
  identity->token_count[identity->tokens++] = (uint32_t)count;
  return 0;
}

// Words that commas part, of a list or of one flag.
static int identity_mixed_words(struct identity *identity, const char *words, struct conf_error *error) {
  for (const char *at = words; *at; at += strspn(at, ",")) {
    size_t n = strcspn(at, ",");
    bool commit = n == strlen("commit") && strncmp(at, "commit", n) == 0;
    bool environment = n == strlen("environment") && strncmp(at, "environment", n) == 0;
    if (!commit && !environment) {
      char shown[200];
      snprintf(error->text, sizeof error->text, "allow-mixed: unexpected %s; give commit, environment or both",
               base_quote(shown, sizeof shown, at, n));
      return -1;
    }
    identity->mixed |= commit ? MSG_MIXED_COMMIT : MSG_MIXED_ENVIRONMENT;
    at += n;
  }
  return 0;
}

static int identity_mixed(struct identity *identity, const struct options *options, struct conf_error *error) {
  for (size_t i = 0; i < options->allow_mixed.count; i++) {
    if (identity_mixed_words(identity, options->allow_mixed.item[i], error) < 0) return -1;
  }
  return 0;
}

// A name is not a number: that two jobs have one name may be meant.
static bool identity_numbered(const struct identity *identity, const struct options *options) {
  uint64_t number;
  if (identity->total < 2) return false;
  if (!options->node[0]) return identity->ci.index >= 0;
  return base_parse_u64(options->node, 0, identity->total - 1, &number) == 0;
}

// A CI that numbers parallel jobs gives no number to one that is not one of several, and its key is of that job alone.
// Where the user names the build, jobs of several names may share it.
static bool identity_alone(const struct identity *identity, const struct options *options) {
  bool told = identity->node[0] || options->build[0] || options->total;
  return !told && identity->ci.total == 1 && identity->ci.retried == CI_RETRIED_UNKNOWN;
}

int identity_make(struct identity *identity, const struct options *options, struct conf_error *error) {
  *identity = (struct identity){0};
  if (ci_detect(ci_getenv, NULL, &identity->ci, error->text, sizeof error->text) < 0) return -1;
  if (identity_build(identity, options, error) < 0) return -1;
  for (size_t i = 0; i < options->tokens.count; i++) {
    if (identity_token(identity, options->tokens.item[i], error) < 0) return -1;
  }
  if (identity_mixed(identity, options, error) < 0) return -1;
  identity_choose(identity->node, sizeof identity->node, options->node, identity->ci.node);
  identity_choose(identity->attempt, sizeof identity->attempt, options->attempt, identity->ci.attempt);
  identity_choose(identity->commit, sizeof identity->commit, options->commit, identity->ci.commit);
  identity_choose(identity->branch, sizeof identity->branch, options->branch, identity->ci.branch);
  if (options->retried != OPTIONS_RETRIED_AUTO) identity->ci.retried = (enum ci_retried)options->retried;
  identity->alone = identity_alone(identity, options);
  bool told = options_source(options, "untrusted") != CONF_FROM_DEFAULT;
  identity->untrusted = told ? options->untrusted : identity->ci.fork;
  identity->total = options->total ? (uint32_t)options->total : identity->ci.total;
  identity->numbered = identity_numbered(identity, options);
  if (gethostname(identity->host, sizeof identity->host - 1) != 0) snprintf(identity->host, sizeof identity->host, "?");
  return 0;
}

void identity_say(const struct identity *identity, const struct options *options) {
  if ((options->build[0] && !options->variant[0]) || options->quiet) return;
  char *build = human_safe(identity->build, strlen(identity->build), ESCAPE_LINE);
  char *node = human_safe(identity->node, strlen(identity->node), ESCAPE_LINE);
  const char *which = node[0] ? "node " : identity->alone ? "its only node" : "a node without a name";
  fprintf(stderr, "shard: build %s, %s%s (from %s)\n", build, which, node, identity->ci.name);
  free(build);
  free(node);
}

static void identity_policy_fill(const struct identity *identity, const struct options *options,
                                 struct identity_policy *to) {
  Shardd__Policy *policy = &to->policy;
  *policy = (Shardd__Policy)SHARDD__POLICY__INIT;
  policy->retries = (uint32_t)options->retries;
  policy->max_failures = (uint32_t)options->max_failures;
  policy->linger_us = options->linger_us;
  policy->on_retry = (Shardd__OnRetry)options->on_retry;
  policy->timeout_per_test_us = options->timeout_per_test_us;
  policy->by_file = options->by_file;
  policy->by_class = options->by_class;
  policy->order = (Shardd__Order)options->order;
  policy->min_workers = (uint32_t)options->min_workers;
  policy->min_workers_us = options->min_workers_timeout_us;
  policy->n_token = policy->n_token_count = identity->tokens;
  policy->token = to->token;
  policy->token_count = to->token_count;
  memcpy(to->token, identity->token, sizeof to->token);
  memcpy(to->token_count, identity->token_count, sizeof to->token_count);
}

void identity_hello(const struct identity *identity, const struct options *options, Shardd__Hello *hello,
                    struct identity_policy *policy) {
  identity_policy_fill(identity, options, policy);
  hello->version = MSG_VERSION;
  hello->role = SHARDD__ROLE__ROLE_WORKER;
  hello->token = msg_text(options->token);
  hello->client = msg_text("shard " SHARD_VERSION);
  hello->project = msg_text(options->project);
  hello->suite = msg_text(options->suite);
  hello->build = msg_text(identity->build);
  hello->commit = msg_text(identity->commit);
  hello->branch = msg_text(identity->branch);
  hello->node = msg_text(identity->alone ? "0" : identity->node);
  hello->node_total = identity->total;
  hello->attempt = msg_text(identity->attempt);
  hello->untrusted = identity->untrusted;
  hello->retried = (Shardd__Retried)identity->ci.retried;
  hello->host = msg_text(identity->host);
  hello->policy = &policy->policy;
  hello->mixed = identity->mixed;
  hello->numbered = identity->numbered;
  facts_fill(&identity->facts, &policy->facts);
  hello->facts = &policy->facts.facts;
}
