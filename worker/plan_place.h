// A private shardd for one simulation, in a folder of its own, with signals watched while it lives: so that nothing
// stays behind. Used by plan.c; knows nothing of what is asked.
#ifndef WORKER_PLAN_PLACE_H
#define WORKER_PLAN_PLACE_H

#include "config/base.h"

struct plan_place;

// Starts it. NULL and a message in why.
struct plan_place *plan_place_open(char *why, size_t why_size);
const char *plan_place_address(const struct plan_place *place);
// Sees to signals and the server's end, without waiting: EXIT_OK: go on; else the exit code to end with (said on
// stderr, but for a signal).
int plan_place_look(struct plan_place *place);
// Ends the server and removes the folder; NULL is legal.
void plan_place_close(struct plan_place *place);

#endif
