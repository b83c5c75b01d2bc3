// A collected list of tests. Ids and file names lie in one growing text, records point into it by offset, so that a
// list of half a million tests costs its text and 32 bytes a test. Runners fill it, then it is sealed: sorted by bytes,
// searched for duplicates and digested. run.c and the reports read it. It knows neither runners nor the server.
#include "worker/testlist.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"

enum { MARKS_MAX = 2000000, DIGEST_BYTES = 32, FIRST_TESTS = 64, FIRST_SLOTS = 64 };

struct record {
  size_t id;  // offset into text
  uint32_t id_bytes;
  uint32_t file;  // place among the files, or TESTLIST_NO_FILE
  uint32_t unit;
};

struct marked {
  uint32_t position, mark;
};

struct testlist {
  char *text;
  size_t text_bytes, text_room;
  struct record *tests;
  size_t count, room;
  size_t *files;      // offsets into text
  uint32_t *in_file;  // tests of each
  size_t file_count, file_room;
  uint32_t *slots;  // hash of file names: place + 1, 0 is free; always a power of two, at most half full
  size_t slot_count;
  uint32_t *order;  // number on the wire -> position; NULL until sealed
  uint32_t *duplicates;
  size_t duplicate_count;
  uint32_t max_failures;
  struct testlist *mark_names;  // its files are the names; NULL: there are none
  struct marked *marks;
  size_t mark_count, mark_room;
  uint8_t digest[DIGEST_BYTES];
};

static size_t add_text(struct testlist *list, const char *bytes, size_t n);
static uint32_t intern_file(struct testlist *list, const char *file);
static void grow_slots(struct testlist *list);
static size_t find_slot(const struct testlist *list, const char *file);
static int compare_ids(const char *a, size_t a_bytes, const char *b, size_t b_bytes);
static int compare_positions(const void *a, const void *b, void *arg);
static void find_duplicates(struct testlist *list);
static void compute_digest(struct testlist *list);
static const struct record *at(const struct testlist *list, size_t position);

struct testlist *testlist_new(void) {
  struct testlist *list = base_calloc(1, sizeof(*list));
  list->slot_count = FIRST_SLOTS;
  list->slots = base_calloc(FIRST_SLOTS, sizeof(*list->slots));
  return list;
}

void testlist_free(struct testlist *list) {
  if (!list) return;
  free(list->text);
  free(list->tests);
  testlist_free(list->mark_names);
  free(list->marks);
  free(list->files);
  free(list->in_file);
  free(list->slots);
  free(list->order);
  free(list->duplicates);
  free(list);
}

int testlist_add(struct testlist *list, const char *id, size_t id_bytes, const char *file, uint32_t unit) {
  assert(!list->order);
  if (!msg_id_valid(id, id_bytes) || list->count >= MSG_LIST_MAX) return -1;
  if (list->count == list->room) {
    list->room = list->room ? list->room * 2 : FIRST_TESTS;
    list->tests = base_realloc(list->tests, list->room, sizeof(*list->tests));
  }
  struct record *test = &list->tests[list->count++];
  *test = (struct record){.id = add_text(list, id, id_bytes), .id_bytes = (uint32_t)id_bytes, .unit = unit};
  test->file = intern_file(list, file);
  if (test->file != TESTLIST_NO_FILE) list->in_file[test->file]++;
  return 0;
}

// Those of the last test stand together at the end.
static bool has_room_for_mark(const struct testlist *list, size_t position) {
  if (list->mark_count >= MARKS_MAX) return false;
  return list->mark_count < TESTLIST_MARKS_MAX ||
         list->marks[list->mark_count - TESTLIST_MARKS_MAX].position != (uint32_t)position;
}

int testlist_mark(struct testlist *list, size_t position, const char *mark) {
  assert(position < list->count);
  if (!mark[0] || !mark[1] || strchr(mark, '\n') || !has_room_for_mark(list, position)) return -1;
  if (!list->mark_names) list->mark_names = testlist_new();
  uint32_t name = intern_file(list->mark_names, mark);
  if (name == TESTLIST_NO_FILE) return -1;
  if (list->mark_count == list->mark_room) {
    list->mark_room = list->mark_room ? list->mark_room * 2 : FIRST_TESTS;
    list->marks = base_realloc(list->marks, list->mark_room, sizeof(*list->marks));
  }
  list->marks[list->mark_count++] = (struct marked){.position = (uint32_t)position, .mark = name};
  return 0;
}

size_t testlist_mark_names(const struct testlist *list) {
  return list->mark_names ? list->mark_names->file_count : 0;
}

const char *testlist_mark_name(const struct testlist *list, size_t mark) {
  return testlist_file_name(list->mark_names, mark);
}

size_t testlist_marks(const struct testlist *list) {
  return list->mark_count;
}

void testlist_mark_at(const struct testlist *list, size_t i, uint32_t *position, uint32_t *mark) {
  assert(i < list->mark_count);
  *position = list->marks[i].position;
  *mark = list->marks[i].mark;
}

size_t testlist_seal(struct testlist *list) {
  if (list->order) return list->duplicate_count;
  list->order = base_calloc(list->count + 1, sizeof(*list->order));
  for (size_t i = 0; i < list->count; i++)
    list->order[i] = (uint32_t)i;
  qsort_r(list->order, list->count, sizeof(*list->order), compare_positions, list);
  find_duplicates(list);
  compute_digest(list);
  return list->duplicate_count;
}

const char *testlist_duplicate(const struct testlist *list, size_t i) {
  assert(i < list->duplicate_count);
  return testlist_id(list, list->duplicates[i]);
}

size_t testlist_count(const struct testlist *list) {
  return list->count;
}

uint32_t testlist_max_failures(const struct testlist *list) {
  return list->max_failures;
}

void testlist_set_max_failures(struct testlist *list, uint32_t max_failures) {
  list->max_failures = max_failures;
}

const char *testlist_id(const struct testlist *list, size_t position) {
  return list->text + at(list, position)->id;
}

const char *testlist_file(const struct testlist *list, size_t position) {
  uint32_t file = at(list, position)->file;
  return file == TESTLIST_NO_FILE ? NULL : testlist_file_name(list, file);
}

uint32_t testlist_unit(const struct testlist *list, size_t position) {
  return at(list, position)->unit;
}

uint32_t testlist_file_index(const struct testlist *list, size_t position) {
  return at(list, position)->file;
}

size_t testlist_file_count(const struct testlist *list) {
  return list->file_count;
}

const char *testlist_file_name(const struct testlist *list, size_t file_index) {
  assert(file_index < list->file_count);
  return list->text + list->files[file_index];
}

uint32_t testlist_file_find(const struct testlist *list, const char *file) {
  size_t slot = find_slot(list, file);
  return list->slots[slot] ? list->slots[slot] - 1 : (uint32_t)TESTLIST_NO_FILE;
}

uint32_t testlist_file_tests(const struct testlist *list, size_t file_index) {
  assert(file_index < list->file_count);
  return list->in_file[file_index];
}

size_t testlist_position(const struct testlist *list, uint32_t number) {
  assert(list->order && number < list->count);
  return list->order[number];
}

int64_t testlist_find(const struct testlist *list, const char *id, size_t id_bytes) {
  assert(list->order);
  size_t low = 0, high = list->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct record *test = &list->tests[list->order[middle]];
    int order = compare_ids(list->text + test->id, test->id_bytes, id, id_bytes);
    if (order == 0) return (int64_t)middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}

const uint8_t *testlist_digest(const struct testlist *list) {
  assert(list->order);
  return list->digest;
}

// Appends n bytes and a NUL; returns where they are.
static size_t add_text(struct testlist *list, const char *bytes, size_t n) {
  if (list->text_room - list->text_bytes < n + 1) {
    list->text_room = list->text_room * 2 + n + 1;
    list->text = base_realloc(list->text, list->text_room, 1);
  }
  size_t offset = list->text_bytes;
  memcpy(list->text + offset, bytes, n);
  list->text[offset + n] = '\0';
  list->text_bytes += n + 1;
  return offset;
}

// The place of a file among the files; a name that cannot go over the wire counts as none.
static uint32_t intern_file(struct testlist *list, const char *file) {
  size_t bytes = file ? strnlen(file, MSG_NAME_MAX_BYTES + 1) : 0;
  if (bytes == 0 || bytes > MSG_NAME_MAX_BYTES) return TESTLIST_NO_FILE;
  size_t slot = find_slot(list, file);
  if (list->slots[slot]) return list->slots[slot] - 1;
  if (list->file_count == list->file_room) {
    list->file_room = list->file_room ? list->file_room * 2 : FIRST_TESTS;
    list->files = base_realloc(list->files, list->file_room, sizeof(*list->files));
    list->in_file = base_realloc(list->in_file, list->file_room, sizeof(*list->in_file));
  }
  uint32_t place = (uint32_t)list->file_count;
  list->in_file[place] = 0;
  list->files[list->file_count++] = add_text(list, file, bytes);
  list->slots[slot] = place + 1;
  if (list->file_count * 2 > list->slot_count) grow_slots(list);
  return place;
}

static void grow_slots(struct testlist *list) {
  free(list->slots);
  list->slot_count *= 2;
  list->slots = base_calloc(list->slot_count, sizeof(*list->slots));
  for (size_t i = 0; i < list->file_count; i++)
    list->slots[find_slot(list, list->text + list->files[i])] = (uint32_t)i + 1;
}

// The slot that holds the file's place, or the free one where it belongs (FNV-1a, linear probing).
static size_t find_slot(const struct testlist *list, const char *file) {
  uint64_t hash = 14695981039346656037u;
  for (const char *c = file; *c; c++)
    hash = (hash ^ (uint8_t)*c) * 1099511628211u;
  size_t slot = (size_t)(hash ^ hash >> 32) & (list->slot_count - 1);
  while (list->slots[slot] && strcmp(list->text + list->files[list->slots[slot] - 1], file) != 0)
    slot = (slot + 1) & (list->slot_count - 1);
  return slot;
}

static int compare_ids(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
  int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
  return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

// Equal ids keep collection order.
static int compare_positions(const void *a, const void *b, void *arg) {
  const struct testlist *list = arg;
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  const struct record *x = &list->tests[left], *y = &list->tests[right];
  int order = compare_ids(list->text + x->id, x->id_bytes, list->text + y->id, y->id_bytes);
  return order ? order : (left > right) - (left < right);
}

// Remembers the first position of each id that comes more than once.
static void find_duplicates(struct testlist *list) {
  list->duplicates = base_calloc(list->count / 2 + 1, sizeof(*list->duplicates));
  for (size_t i = 1, start = 0; i < list->count; i++) {
    const char *first = testlist_id(list, list->order[start]);
    if (strcmp(first, testlist_id(list, list->order[i])) != 0)
      start = i;
    else if (i == start + 1)
      list->duplicates[list->duplicate_count++] = list->order[start];
  }
}

static void compute_digest(struct testlist *list) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
  for (size_t i = 0; ok && i < list->count; i++) {
    const struct record *test = &list->tests[list->order[i]];
    ok = EVP_DigestUpdate(context, list->text + test->id, test->id_bytes) == 1 &&
         EVP_DigestUpdate(context, "\n", 1) == 1;
  }
  ok = ok && EVP_DigestFinal_ex(context, list->digest, NULL) == 1;
  EVP_MD_CTX_free(context);
  if (!ok) base_die(EXIT_INFRA, "SHA-256 failed in libcrypto: cannot compute the digest of the test list");
}

static const struct record *at(const struct testlist *list, size_t position) {
  assert(position < list->count);
  return &list->tests[position];
}
