// Inside of the planning connections, shared by plan.c (lists), plan_dry.c, plan_simulate.c and plan_forecast.c.
#ifndef SERVER_PLAN_IMPL_H
#define SERVER_PLAN_IMPL_H

#include "server/forecast.h"
#include "server/listing.h"
#include "server/plan.h"
#include "server/simulation.h"
#include "server/upload.h"

enum plan_boot { PLAN_BOOT_DEFAULT, PLAN_BOOT_TOLD, PLAN_BOOT_HISTORY };

// The forecast asked for last.
struct plan_outlook {
  bool made, simulated, whole_files;
  struct forecast forecast;
  struct forecast_curve curve;  // with the start-up
  uint64_t boot_us, target_us;
  enum plan_boot boot;
  uint32_t boot_builds, never_timed;
  char *longest, *next;  // names of the pieces, owned
};

struct plan {
  struct plan *next;  // in server->simulations
  struct server *server;
  struct conn *conn;  // NULL: gone, while the list is lent
  struct upload *upload;
  char *project, *suite;
  uint64_t *durations;  // that came with the list, by position; NULL: none
  uint32_t durations_room;
  // The simulation in progress, and what earlier ones gave.
  struct simulation *simulation;
  uint32_t workers;
  uint64_t seq;
  bool lent;                    // a dry run reads the list, on another thread
  bool listed;                  // a question was asked about the list
  bool sealed, whole_files;     // a simulation was asked for: the list stays as it is
  struct forecast_curve curve;  // simulated, without start-up
  struct plan_outlook outlook;
};

void plan_forget_simulation(struct plan *plan);  // takes it out of server->simulations
// The list is asked about: from now on it is kept for LIMIT_PLAN_US.
void plan_listed(struct plan *plan);
// Counts what the plan holds because of its list, with a simulation of it or without: as upload_hold.
Shardd__ErrorCode plan_hold(struct plan *plan, bool simulates, const char **why) MUST_CHECK;
void plan_forget_outlook(struct plan_outlook *outlook);
void plan_free(struct plan *plan);

#endif
