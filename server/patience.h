// Keeps systemd from ending a daemon whose start takes long: the check of a large database after a kill, its migration,
// the replay of builds. Called by server.c around them. Must not know what takes long.
#ifndef SERVER_PATIENCE_H
#define SERVER_PATIENCE_H

#include <stdint.h>

struct patience;

// From now on, and every `every_us`, asks systemd for `more_us` from then (EXTEND_TIMEOUT_USEC), and from the second
// time on logs a line that says how long it has taken. Uses a thread, which blocks all signals.
struct patience *patience_begin(uint64_t every_us, uint64_t more_us);
void patience_end(struct patience *patience);

#endif
