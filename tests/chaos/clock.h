// Time under the test's hand, for programs linked with CHAOS_CLOCK of the Makefile: base_now_us and base_wall_us give a
// clock that stands still until clock_advance, and pthread_cond_timedwait (in our own objects, not in libraries) waits
// for that clock. So a store thread takes exactly the records that were put before a step, whatever the machine does
// meanwhile, and a run follows from its seed. One waiting thread at a time.
#ifndef TESTS_CHAOS_CLOCK_H
#define TESTS_CHAOS_CLOCK_H

#include <stdint.h>

// Before a thread that will wait is made: nobody waits.
void clock_forget(void);
// Until the thread waits for time or for a signal.
void clock_settle(void);
// Moves both clocks and wakes the waiting thread, then settles.
void clock_advance(uint64_t us);
// Moves the wall clock alone.
void clock_advance_wall(uint64_t us);
uint64_t clock_wall_ms(void);

#endif
