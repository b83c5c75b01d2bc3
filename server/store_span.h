// The spans of a build, as docs/history.md defines them. Used by the parts of the store that answer questions.
#ifndef SERVER_STORE_SPAN_H
#define SERVER_STORE_SPAN_H

#include "server/store_impl.h"

struct store_stretch {  // µs since the epoch; before_us: the sum of those before it
  uint64_t from_us, to_us, before_us;
};
struct store_presence {  // of a worker; from_us: its coming, or its first test if that is earlier
  uint64_t worker, from_us, to_us, busy_us;
};
struct store_span {
  struct store_stretch *stretch;  // while the build was open or a test of it ran: in order, apart
  size_t count, room;
  struct store_presence *worker;  // by number
  size_t workers;
  uint64_t to_us;              // the build's end, or now
  uint64_t first_us, last_us;  // of the attempts
  uint64_t active_us;          // the sum of the stretches
  uint64_t wall_us, test_us, longest_us;
  bool measured;  // something ran: these are known
  uint64_t makespan_us, bound_us;
  int64_t idle_ppm;
};
// What a build took by now, of three columns: started_ms, ended_ms, and PAUSED of store_stmt.c.
uint64_t store_span_wall_us(sqlite3_stmt *stmt, int column);
// Of a build; zeros when there is none. The caller releases it.
void store_span_read(struct store_db *db, uint64_t build, struct store_span *span);
void store_span_release(struct store_span *span);
// µs that the stretches had until then.
uint64_t store_span_at(const struct store_span *span, uint64_t us);

#endif
