// The scheduler: keeps the free tests by file and unit, and picks the next lease. queue.c is the caller; the lease's
// path goes queue_lease → sched_grant. It must not know of leases, verdicts, time or connections: only which tests are
// free, what they are expected to take, and which worker sits in which file.
//
// A file that nobody sits in stands in two heaps (by its longest free test, by its work), a file with owners in two
// others (by its longest free test when that is worth the set-up, by its work per owner). Its units with free tests
// stand in the file's own heap by their longest free test.
#include "server/sched.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "server/heap.h"

struct sched_test {
  uint32_t expected_us, order_us;
  uint32_t unit : 31;
  uint32_t free : 1;
};

struct sched_unit {
  uint32_t begin;   // its first test; the next unit's begin is its end
  uint32_t cursor;  // no test before it is free
  uint32_t free;    // free tests
  uint32_t file;
  uint32_t next, prev;  // units of the file
  struct heap_node longest;
};

struct sched_file {
  uint32_t first, last;  // units
  uint32_t head, tail;   // no unit before head or behind tail has free tests
  uint32_t free, owners;
  bool whole;  // has one owner at most
  uint64_t work_us, setup_us;
  struct heap units;
  struct heap_node longest, work;  // in the idle heaps without owners, in the open heaps with
};

struct sched {
  struct sched_test *test;
  struct sched_unit *unit;
  struct sched_file *file;
  uint32_t test_count, unit_count, file_count;
  bool whole_units, in_order;
  uint32_t free;
  uint64_t free_us;
  struct heap idle_longest, idle_work, open_longest, open_share;
};

#define OWNER(node, type, member) ((struct type *)(void *)((char *)(node)-offsetof(struct type, member)))
enum { NONE = UINT32_MAX };

// ---- building

static uint32_t sched_clamp_us(uint64_t us) {
  return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void sched_open_unit(struct sched *sched, uint32_t begin, uint32_t file) {
  uint32_t number = sched->unit_count++;
  struct sched_file *owner = &sched->file[file];
  sched->unit[number] =
      (struct sched_unit){.begin = begin, .cursor = begin, .file = file, .next = NONE, .prev = owner->last};
  if (owner->last != NONE) sched->unit[owner->last].next = number;
  if (owner->first == NONE) owner->first = number;
  owner->last = number;
  owner->head = NONE;
  owner->tail = NONE;
}

static bool sched_unit_continues(const struct sched *sched, const struct sched_list *list, uint32_t test) {
  if (test == 0 || list->file_of[test] == SCHED_NO_FILE) return false;
  bool room = list->whole_units || test - sched->unit[sched->unit_count - 1].begin < SCHED_UNIT_MAX;
  return list->file_of[test] == list->file_of[test - 1] && list->unit_of[test] == list->unit_of[test - 1] && room;
}

static uint32_t sched_count_loose(const struct sched_list *list) {
  uint32_t loose = 0;
  for (uint32_t i = 0; i < list->count; i++) {
    loose += list->file_of[i] == SCHED_NO_FILE;
  }
  return loose;
}

static void sched_make_files(struct sched *sched, const struct sched_list *list) {
  sched->file_count = list->file_count + sched_count_loose(list);
  sched->file = base_calloc(sched->file_count + 1, sizeof *sched->file);
  for (uint32_t i = 0; i < sched->file_count; i++) {
    struct sched_file *file = &sched->file[i];
    file->first = file->last = file->head = file->tail = NONE;
    file->setup_us = list->file_setup_us && i < list->file_count ? list->file_setup_us[i] : 0;
    file->whole = list->whole_files || (list->whole_of && i < list->file_count && list->whole_of[i]);
  }
}

static void sched_make_tests(struct sched *sched, const struct sched_list *list) {
  uint32_t loose = list->file_count;
  sched->test_count = list->count;
  sched->test = base_calloc(list->count + 1, sizeof *sched->test);
  sched->unit = base_calloc(list->count + 1, sizeof *sched->unit);
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t file = list->file_of[i];
    assert(file < list->file_count || file == SCHED_NO_FILE);
    if (!sched_unit_continues(sched, list, i)) sched_open_unit(sched, i, file == SCHED_NO_FILE ? loose++ : file);
    uint32_t unit = sched->unit_count - 1;
    sched->test[i] = (struct sched_test){.expected_us = sched_clamp_us(list->expected_us[i]),
                                         .order_us = sched_clamp_us(list->order_us[i]),
                                         .unit = unit & 0x7fffffff};
  }
  sched->unit[sched->unit_count].begin = list->count;
  sched->unit = base_realloc(sched->unit, sched->unit_count + 1, sizeof *sched->unit);
}

struct sched *sched_new(const struct sched_list *list) {
  struct sched *sched = base_calloc(1, sizeof *sched);
  sched->whole_units = list->whole_units;
  sched->in_order = list->in_order;
  sched_make_files(sched, list);
  sched_make_tests(sched, list);
  return sched;
}

void sched_free(struct sched *sched) {
  if (!sched) return;
  for (uint32_t i = 0; i < sched->file_count; i++) {
    heap_release(&sched->file[i].units);
  }
  heap_release(&sched->idle_longest);
  heap_release(&sched->idle_work);
  heap_release(&sched->open_longest);
  heap_release(&sched->open_share);
  free(sched->test);
  free(sched->unit);
  free(sched->file);
  free(sched);
}

// ---- workers

void sched_worker_init(struct sched_worker *worker) {
  *worker = (struct sched_worker){.file = SCHED_NO_FILE};
}

void sched_worker_learn(struct sched_worker *worker, uint64_t observed_us, uint64_t expected_us) {
  worker->observed_us += observed_us;
  worker->expected_us += expected_us;
}

double sched_worker_slowness(const struct sched_worker *worker) {
  const double ballast_us = 5e6;
  return ((double)worker->observed_us + ballast_us) / ((double)worker->expected_us + ballast_us);
}

// ---- the heaps follow the counters

static void sched_file_unlist(struct sched *sched, struct sched_file *file) {
  bool open = file->owners > 0;
  heap_remove(open ? &sched->open_longest : &sched->idle_longest, &file->longest);
  heap_remove(open ? &sched->open_share : &sched->idle_work, &file->work);
}

static void sched_file_list(struct sched *sched, struct sched_file *file) {
  struct heap_node *top = heap_top(&file->units);
  if (!top || (file->whole && file->owners)) {
    sched_file_unlist(sched, file);
  } else if (sched->in_order) {
    bool open = file->owners > 0;
    heap_set(open ? &sched->open_longest : &sched->idle_longest, &file->longest, 0);
    heap_set(open ? &sched->open_share : &sched->idle_work, &file->work, UINT32_MAX - file->head);
  } else if (file->owners == 0) {
    heap_set(&sched->idle_longest, &file->longest, top->key);
    heap_set(&sched->idle_work, &file->work, file->setup_us + file->work_us);
  } else {
    heap_set(&sched->open_longest, &file->longest, top->key > 3 * file->setup_us ? top->key : 0);
    heap_set(&sched->open_share, &file->work, file->work_us / file->owners);
  }
}

static void sched_file_own(struct sched *sched, struct sched_file *file, int change) {
  assert(change > 0 || file->owners > 0);
  sched_file_unlist(sched, file);
  file->owners += (uint32_t)change;
  sched_file_list(sched, file);
}

static uint32_t sched_end(const struct sched_unit *unit) {
  return unit[1].begin;  // there is one more than units
}

// The unit's heap key and its file's, after its free tests changed.
static void sched_unit_refresh(struct sched *sched, struct sched_unit *unit) {
  struct sched_file *file = &sched->file[unit->file];
  uint32_t longest = 0;
  for (uint32_t i = unit->cursor; unit->free && i < sched_end(unit); i++) {
    if (sched->test[i].free && sched->test[i].order_us > longest) longest = sched->test[i].order_us;
  }
  if (unit->free) {
    heap_set(&file->units, &unit->longest, longest);
  } else {
    heap_remove(&file->units, &unit->longest);
  }
  sched_file_list(sched, file);
}

static void sched_count(struct sched *sched, uint32_t number, int change) {
  struct sched_test *test = &sched->test[number];
  struct sched_unit *unit = &sched->unit[test->unit];
  struct sched_file *file = &sched->file[unit->file];
  assert(test->free == (change < 0));
  test->free = change > 0;
  unit->free += (uint32_t)change;
  file->free += (uint32_t)change;
  sched->free += (uint32_t)change;
  uint64_t us = (uint64_t)(int64_t)change * test->expected_us;
  file->work_us += us;
  sched->free_us += us;
}

void sched_free_test(struct sched *sched, uint32_t test) {
  assert(test < sched->test_count);
  uint32_t number = sched->test[test].unit;
  struct sched_unit *unit = &sched->unit[number];
  struct sched_file *file = &sched->file[unit->file];
  sched_count(sched, test, 1);
  if (test < unit->cursor || unit->free == 1) unit->cursor = test;
  if (file->head == NONE || number < file->head) file->head = number;
  if (file->tail == NONE || number > file->tail) file->tail = number;
  sched_unit_refresh(sched, unit);
}

void sched_take_test(struct sched *sched, uint32_t test) {
  assert(test < sched->test_count);
  sched_count(sched, test, -1);
  sched_unit_refresh(sched, &sched->unit[sched->test[test].unit]);
}

bool sched_is_free(const struct sched *sched, uint32_t test) {
  assert(test < sched->test_count);
  return sched->test[test].free;
}

// ---- choosing

static void sched_enter(struct sched *sched, struct sched_worker *worker, struct sched_file *file, bool far_end) {
  worker->file = (uint32_t)(file - sched->file);
  worker->far_end = far_end;
  sched_file_own(sched, file, 1);
}

void sched_worker_leave(struct sched *sched, struct sched_worker *worker) {
  if (worker->file == SCHED_NO_FILE) return;
  sched_file_own(sched, &sched->file[worker->file], -1);
  worker->file = SCHED_NO_FILE;
}

void sched_worker_stay(struct sched *sched, struct sched_worker *worker, uint32_t test) {
  uint32_t number = sched->unit[sched->test[test].unit].file;
  if (worker->file == SCHED_NO_FILE || worker->file == number) return;
  sched_worker_leave(sched, worker);
  if (sched->file[number].whole && sched->file[number].owners) return;
  sched_enter(sched, worker, &sched->file[number], false);
}

bool sched_worker_has_more(const struct sched *sched, const struct sched_worker *worker) {
  return worker->file != SCHED_NO_FILE && sched->file[worker->file].free > 0;
}

// ---- who may have what

static const struct sched_file *sched_file_of(const struct sched *sched, uint32_t test) {
  assert(test < sched->test_count);
  return &sched->file[sched->unit[sched->test[test].unit].file];
}

bool sched_is_whole(const struct sched *sched, uint32_t test) {
  return sched_file_of(sched, test)->whole;
}

bool sched_may_part(const struct sched *sched, uint32_t a, uint32_t b) {
  if (sched->whole_units && sched->test[a].unit == sched->test[b].unit) return false;
  return !sched_is_whole(sched, a) || !sched_same_file(sched, a, b);
}

bool sched_same_file(const struct sched *sched, uint32_t a, uint32_t b) {
  return sched_file_of(sched, a) == sched_file_of(sched, b);
}

uint32_t sched_file(const struct sched *sched, uint32_t test) {
  return (uint32_t)(sched_file_of(sched, test) - sched->file);
}

bool sched_is_taken(const struct sched *sched, const struct sched_worker *worker, uint32_t test) {
  const struct sched_file *file = sched_file_of(sched, test);
  return file->whole && file->owners && worker->file != sched_file(sched, test);
}

uint32_t sched_file_count(const struct sched *sched) {
  return sched->file_count;
}

uint64_t sched_setup_us(const struct sched *sched, uint32_t test) {
  return sched_file_of(sched, test)->setup_us;
}

// The next unit of a file with free tests, from the worker's end; the file's cursors move past what is used up.
static struct sched_unit *sched_next_unit(struct sched *sched, struct sched_file *file, bool far_end) {
  assert(file->free > 0);
  while (sched->unit[file->head].free == 0) {
    file->head = sched->unit[file->head].next;
  }
  while (sched->unit[file->tail].free == 0) {
    file->tail = sched->unit[file->tail].prev;
  }
  return &sched->unit[far_end ? file->tail : file->head];
}

static struct sched_unit *sched_unit_in(struct sched *sched, struct sched_file *file, bool far_end, uint64_t long_us) {
  struct heap_node *longest = sched->in_order ? NULL : heap_top(&file->units);
  if (longest && longest->key > long_us) return OWNER(longest, sched_unit, longest);
  return sched_next_unit(sched, file, far_end);
}

// Rules (1) and (2): a file with a long test, idle or worth its set-up again; else the idle file with most work.
static struct sched_file *sched_fresh_file(struct sched *sched, uint64_t long_us, bool *far_end) {
  struct heap_node *idle = heap_top(&sched->idle_longest), *open = heap_top(&sched->open_longest);
  *far_end = false;
  if (open && open->key > long_us && (!idle || open->key > idle->key)) {
    *far_end = true;
    return OWNER(open, sched_file, longest);
  }
  if (idle && idle->key > long_us) return OWNER(idle, sched_file, longest);
  struct heap_node *work = heap_top(&sched->idle_work);
  return work ? OWNER(work, sched_file, work) : NULL;
}

// Rule (3): the open file with most work per owner, if that exceeds what its set-up costs once more.
static struct sched_file *sched_shared_file(struct sched *sched) {
  struct heap_node *share = heap_top(&sched->open_share);
  if (!share) return NULL;
  struct sched_file *file = OWNER(share, sched_file, work);
  return sched->in_order || share->key > file->setup_us ? file : NULL;
}

struct sched_lease {
  uint32_t *out, count, cap, room;  // tests: taken, wanted at most, possible at most
  uint64_t sum_us, budget_us;       // with the set-ups of further files
  uint64_t least_us;                // not worth a process of its own below this
};

// A further file fills up a lease only when its set-up fits in too: what is leased cannot be done elsewhere. A lease
// that is a process of its own is not left half empty for that.
static bool sched_fits(const struct sched_worker *worker, const struct sched_lease *lease,
                       const struct sched_file *file) {
  if (lease->count == 0 || lease->sum_us + file->setup_us < lease->budget_us) return true;
  return worker->start_us && lease->sum_us < lease->budget_us / 2;
}

static bool sched_has_first(const struct heap *heap) {
  const struct heap_node *top = heap_top(heap);
  return top && top->key >= SCHED_FIRST_US;
}

// Another file holds a test that goes before everything else, and the worker's own does not.
static bool sched_elsewhere_first(const struct sched *sched, const struct sched_file *own) {
  return !sched_has_first(&own->units) &&
         (sched_has_first(&sched->idle_longest) || sched_has_first(&sched->open_longest));
}

static struct sched_unit *sched_pick(struct sched *sched, struct sched_worker *worker, uint64_t long_us,
                                     struct sched_lease *lease) {
  if (worker->file != SCHED_NO_FILE) {
    struct sched_file *own = &sched->file[worker->file];
    if (own->free && !sched_elsewhere_first(sched, own)) return sched_unit_in(sched, own, worker->far_end, long_us);
    sched_worker_leave(sched, worker);
  }
  bool far_end = false;
  struct sched_file *file = sched_fresh_file(sched, long_us, &far_end);
  if (!file && lease->count == 0) {
    file = sched_shared_file(sched);
    far_end = !sched->in_order;
  }
  if (!file || !sched_fits(worker, lease, file)) return NULL;
  sched_enter(sched, worker, file, far_end);
  if (lease->count) lease->sum_us += file->setup_us;
  return sched_unit_in(sched, file, far_end, long_us);
}

static bool sched_lease_full(const struct sched_lease *lease) {
  if (lease->count >= lease->room) return true;
  bool enough = lease->count && lease->sum_us >= lease->budget_us;
  return enough || (lease->count >= lease->cap && lease->sum_us >= lease->least_us);
}

static void sched_take_unit(struct sched *sched, struct sched_unit *unit, struct sched_lease *lease) {
  uint32_t i = unit->cursor;
  for (; i < sched_end(unit) && lease->count < lease->room && (sched->whole_units || !sched_lease_full(lease)); i++) {
    if (!sched->test[i].free) continue;
    sched_count(sched, i, -1);
    lease->out[lease->count++] = i;
    lease->sum_us += sched->test[i].expected_us;
  }
  unit->cursor = i;
  sched_unit_refresh(sched, unit);
}

// Into how many leases a worker's share of the free tests is cut.
static uint64_t sched_cuts(const struct sched_worker *worker, uint32_t workers) {
  return (worker->start_us ? SCHED_CUTS_PROCESS : SCHED_CUTS) * (uint64_t)workers;
}

static uint64_t sched_budget(const struct sched *sched, const struct sched_worker *worker, uint32_t workers) {
  uint64_t budget = sched->free_us / sched_cuts(worker, workers), least = SCHED_MIN_US, most = SCHED_MAX_US;
  if (worker->start_us) {
    least = SCHED_STARTS_LEAST * worker->start_us;
    most = SCHED_STARTS_MOST * worker->start_us > most ? SCHED_STARTS_MOST * worker->start_us : most;
  }
  if (budget < least) budget = least;
  if (budget > most) budget = most;
  return (uint64_t)((double)budget / sched_worker_slowness(worker));
}

static uint32_t sched_count_cap(const struct sched *sched, const struct sched_worker *worker, uint32_t workers,
                                uint32_t room) {
  uint64_t cap = sched->free / sched_cuts(worker, workers);
  if (cap < 1) cap = 1;
  if (cap > SCHED_LEASE_MAX) cap = SCHED_LEASE_MAX;
  return cap < room ? (uint32_t)cap : room;
}

uint32_t sched_grant(struct sched *sched, struct sched_worker *worker, uint32_t workers, uint32_t *out, uint32_t room) {
  assert(workers > 0 && room > 0);
  struct sched_lease lease = {.out = out,
                              .room = room,
                              .cap = sched_count_cap(sched, worker, workers, room),
                              .budget_us = sched_budget(sched, worker, workers),
                              .least_us = SCHED_STARTS_LEAST * worker->start_us};
  uint64_t long_us = sched->free_us / (3 * (uint64_t)workers);
  while (!sched_lease_full(&lease)) {
    struct sched_unit *unit = sched_pick(sched, worker, long_us, &lease);
    if (!unit) break;
    sched_take_unit(sched, unit, &lease);
  }
  return lease.count;
}

uint32_t sched_free_count(const struct sched *sched) {
  return sched->free;
}

uint64_t sched_free_us(const struct sched *sched) {
  return sched->free_us;
}

uint64_t sched_expected_us(const struct sched *sched, uint32_t test) {
  assert(test < sched->test_count);
  return sched->test[test].expected_us;
}

// ---- checking

static void sched_check_file(const struct sched *sched, const struct sched_file *file) {
  uint32_t free = 0;
  uint64_t work = 0;
  for (uint32_t u = file->first; u != NONE; u = sched->unit[u].next) {
    uint32_t in_unit = 0;
    for (uint32_t i = sched->unit[u].begin; i < sched_end(&sched->unit[u]); i++) {
      if (!sched->test[i].free) continue;
      assert(i >= sched->unit[u].cursor && u >= file->head && u <= file->tail);
      in_unit++;
      work += sched->test[i].expected_us;
    }
    assert(in_unit == sched->unit[u].free && (in_unit > 0) == (sched->unit[u].longest.place > 0));
    free += in_unit;
  }
  assert(free == file->free && work == file->work_us && heap_valid(&file->units));
  bool listed = free > 0 && !(file->whole && file->owners);
  assert(listed == (file->longest.place > 0) && listed == (file->work.place > 0));
  assert(!file->whole || file->owners <= 1);
}

void sched_check(const struct sched *sched) {
  uint64_t free = 0, work = 0;
  for (uint32_t i = 0; i < sched->file_count; i++) {
    sched_check_file(sched, &sched->file[i]);
    free += sched->file[i].free;
    work += sched->file[i].work_us;
  }
  assert(free == sched->free && work == sched->free_us);
  assert(heap_valid(&sched->idle_longest) && heap_valid(&sched->idle_work));
  assert(heap_valid(&sched->open_longest) && heap_valid(&sched->open_share));
}
