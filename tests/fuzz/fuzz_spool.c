// Files of results that wait for a server: what is read is in order and comes back the same after packing, what is
// refused says where. As a whole file, the same bytes are refused with its name, since their sum is not in it.
#include "proto/frame.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/spool_file.h"

static int rank(const Shardd__Frame *frame) {
  if (frame->body_case == SHARDD__FRAME__BODY_HELLO) return 1;
  if (frame->body_case == SHARDD__FRAME__BODY_LIST_OFFER) return 2;
  if (frame->body_case == SHARDD__FRAME__BODY_LIST_CHUNK) return 3;
  if (frame->body_case == SHARDD__FRAME__BODY_RESULTS) return 4;
  FUZZ_CHECK(frame->body_case == SHARDD__FRAME__BODY_BYE);
  return 5;
}

static void check_frame(const Shardd__Frame *frame, int *last) {
  int now = rank(frame);
  FUZZ_CHECK(now > *last || (now == *last && (now == 3 || now == 4)));  // many chunks, many results, one of each other
  FUZZ_CHECK(*last != 0 || now == 1);
  FUZZ_CHECK(now != 3 || *last >= 2);  // no chunks without an offer
  *last = now;
  size_t bytes = msg_packed_bytes(frame);
  FUZZ_CHECK(bytes > FRAME_HEADER_BYTES && bytes <= FRAME_HEADER_BYTES + FRAME_MAX_BYTES);
}

static void check_refused(const char *why) {
  FUZZ_CHECK(strncmp(why, "t.spool: at byte ", 17) == 0);
  for (const char *at = why; *at != '\0'; at++)
    FUZZ_CHECK((unsigned char)*at >= ' ' && *at != 0x7f);
}

static void check_file(const uint8_t *bytes, size_t n) {
  char path[FUZZ_PATH_BYTES], why[640] = "";
  int fd = fuzz_hold(bytes, n, path);
  struct spool_reader *reader = spool_reader_open(path, why, sizeof why);
  if (reader == NULL) {
    fuzz_check_harmless(why);
    FUZZ_CHECK(strstr(why, path) != NULL);
  }
  spool_reader_close(reader);
  close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static struct msg_arena *arena;  // it is large
  char why[640] = "";
  const Shardd__Frame *frame;
  int got, last = 0;
  char *copy = base_memdup0(bytes, n);
  FILE *in = n > 0 ? fmemopen(copy, n, "r") : fopen("/dev/null", "re");
  FUZZ_CHECK(in != NULL);
  if (arena == NULL) arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  struct spool_reader *reader = spool_reader_new(in, n, "t.spool", arena);
  while ((got = spool_reader_next(reader, &frame, why, sizeof why)) > 0)
    check_frame(frame, &last);
  if (got < 0) {
    check_refused(why);
  } else {
    FUZZ_CHECK(last == 5);
  }
  spool_reader_close(reader);
  check_file(bytes, n);
  free(copy);
  return 0;
}
