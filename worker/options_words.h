// The words that options may have, in the order of their enums, and the proof that those are the numbers of the wire.
// Included by options_table.c alone.
#ifndef WORKER_OPTIONS_WORDS_H
#define WORKER_OPTIONS_WORDS_H

#include "proto/msg.h"
#include "worker/options.h"

static const char *const runners[] = {"auto", "pytest", "command", NULL};
static const char *const collects[] = {"full", "lazy", NULL};
static const char *const formats[] = {"auto", "durations", "junit", "csv", NULL};
static const char *const annotates[] = {"auto", "none", "github", "gitlab", "teamcity", "buildkite", NULL};
static const char *const on_retries[] = {"auto", "mine", "all", "unresolved", NULL};
static const char *const retrieds[] = {"auto", "no", "yes", NULL};
static const char *const fallbacks[] = {"none", "static", NULL};
static const char *const orders[] = {"auto", "failed-first", "collection", NULL};
static const char *const colors[] = {"auto", "always", "never", NULL};

_Static_assert(SHARDD__ON_RETRY__ON_RETRY_AUTO == (int)OPTIONS_ON_RETRY_AUTO &&
                   SHARDD__ON_RETRY__ON_RETRY_UNRESOLVED == (int)OPTIONS_ON_RETRY_UNRESOLVED &&
                   SHARDD__ON_RETRY__ON_RETRY_MINE == (int)OPTIONS_ON_RETRY_MINE &&
                   SHARDD__ON_RETRY__ON_RETRY_ALL == (int)OPTIONS_ON_RETRY_ALL,
               "on-retry has the numbers of the wire");
_Static_assert(SHARDD__RETRIED__RETRIED_NO == (int)OPTIONS_RETRIED_NO &&
                   SHARDD__RETRIED__RETRIED_YES == (int)OPTIONS_RETRIED_YES,
               "retried has the numbers of the wire");
_Static_assert(SHARDD__ORDER__ORDER_FAILED_FIRST == (int)OPTIONS_ORDER_FAILED_FIRST &&
                   SHARDD__ORDER__ORDER_COLLECTION == (int)OPTIONS_ORDER_COLLECTION,
               "order has the numbers of the wire");

#endif
