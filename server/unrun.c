// See unrun.h. One walk over the tests, and a line's worth of text at most.
#include "server/unrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/escape.h"
#include "server/queue.h"

enum { UNRUN_HOLDERS = 8, UNRUN_NAMES = 3, UNRUN_ID_BYTES = 120, UNRUN_BYTES = 8192 };

// By who had them last; [worker_count]: nobody did.
struct unrun {
  uint32_t count, first[UNRUN_NAMES];
};

static size_t unrun_append(char *out, size_t used, const char *text) {
  return used + (size_t)snprintf(out + used, UNRUN_BYTES - used, "%s", text);
}

static size_t unrun_names(const struct build *build, const struct unrun *unrun, char *out, size_t used) {
  for (uint32_t i = 0; i < unrun->count && i < UNRUN_NAMES; i++) {
    size_t bytes = names_length(&build->ids, unrun->first[i]);
    char *name = base_malloc(bytes + 1);
    names_copy(&build->ids, unrun->first[i], name);
    used = unrun_append(out, used, i ? ", " : " (");
    used += escape_bytes(out + used, UNRUN_ID_BYTES, name, bytes, ESCAPE_LINE);
    free(name);
  }
  return unrun_append(out, used, unrun->count > UNRUN_NAMES ? ", …)" : ")");
}

static size_t unrun_holder(const struct build *build, uint32_t worker, uint32_t count, char *out, size_t used) {
  char node[UNRUN_ID_BYTES + 1], host[UNRUN_ID_BYTES + 1];
  const struct session *session = build->session[worker];
  node[escape_bytes(node, UNRUN_ID_BYTES, session->node, strlen(session->node), ESCAPE_LINE)] = '\0';
  host[escape_bytes(host, UNRUN_ID_BYTES, session->host, strlen(session->host), ESCAPE_LINE)] = '\0';
  return used + (size_t)snprintf(out + used, UNRUN_BYTES - used, "%s%u %s with %s%s on %s", used ? "; " : "", count,
                                 count == 1 ? "was" : "were", node[0] ? "node " : "a worker", node, host);
}

static char *unrun_text(const struct build *build, const struct unrun *by, uint32_t workers) {
  char *out = base_malloc(UNRUN_BYTES);
  size_t used = 0;
  uint32_t told = 0, untold = 0;
  for (uint32_t i = 0; i < workers; i++) {
    if (by[i].count == 0) continue;
    if (told++ >= UNRUN_HOLDERS) {
      untold += by[i].count;
      continue;
    }
    used = unrun_names(build, &by[i], out, unrun_holder(build, i, by[i].count, out, used));
  }
  if (untold) used += (size_t)snprintf(out + used, UNRUN_BYTES - used, "; %u were with other workers", untold);
  if (by[workers].count) {
    used += (size_t)snprintf(out + used, UNRUN_BYTES - used, "%snobody is known to have had %u", used ? "; " : "",
                             by[workers].count);
    (void)unrun_names(build, &by[workers], out, used);
  }
  return out;
}

char *unrun_tell(const struct build *build) {
  uint32_t workers = queue_worker_count(build->queue), open = 0;
  if (!queue_has_list(build->queue)) return NULL;
  struct unrun *by = base_calloc(workers + 1, sizeof *by);
  for (uint32_t i = 0; i < build->ids.count; i++) {
    if (queue_verdict(build->queue, i) != VERDICT_NONE) continue;
    uint32_t last = queue_last_held_by(build->queue, i);
    struct unrun *of = &by[last < workers ? last : workers];
    if (of->count < UNRUN_NAMES) of->first[of->count] = i;
    of->count++;
    open++;
  }
  char *text = open ? unrun_text(build, by, workers) : NULL;
  free(by);
  return text;
}
