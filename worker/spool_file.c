// Results that wait for a server, in files. It must not know how they came to be, nor how they are handed over.
#include "worker/spool_file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/files.h"
#include "proto/frame.h"
#include "worker/cache.h"
#include "worker/listing.h"
#include "worker/project.h"
#include "worker/replace.h"

static const char suffix[] = ".spool";

enum { SPOOL_SUM_BYTES = 32, LOOKS_MAX = 5, LOOK_US = 10000, REST_AGE_S = 3600 };

enum spool_lock {
  SPOOL_FREE,
  SPOOL_HELD,
  SPOOL_UNKNOWN,  // there are no locks
};

// What is written, and its sum.
struct spool_out {
  FILE *file;
  EVP_MD_CTX *sum;
};

static EVP_MD_CTX *spool_sum_new(void) {
  EVP_MD_CTX *sum = EVP_MD_CTX_new();
  if (!sum || EVP_DigestInit_ex(sum, EVP_sha256(), NULL) != 1) base_die(EXIT_INFRA, "libcrypto: SHA-256 failed");
  return sum;
}

static void spool_sum_add(EVP_MD_CTX *sum, const void *bytes, size_t n) {
  if (EVP_DigestUpdate(sum, bytes, n) != 1) base_die(EXIT_INFRA, "libcrypto: SHA-256 failed");
}

static void spool_sum_end(EVP_MD_CTX *sum, uint8_t out[SPOOL_SUM_BYTES]) {
  unsigned n = SPOOL_SUM_BYTES;
  if (EVP_DigestFinal_ex(sum, out, &n) != 1) base_die(EXIT_INFRA, "libcrypto: SHA-256 failed");
  EVP_MD_CTX_free(sum);
}

static void spool_out_put(struct spool_out *out, const void *bytes, size_t n) {
  (void)fwrite(bytes, 1, n, out->file);  // ferror tells at the end
  spool_sum_add(out->sum, bytes, n);
}

// ---- writing

static char *spool_file_folder(const char *folder, char *why, size_t why_size) {
  if (folder[0]) return base_strdup(folder);
  char *cache = cache_folder();
  if (!cache) {
    snprintf(why, why_size, "neither HOME nor XDG_CACHE_HOME is set: give --spool FOLDER or SHARD_SPOOL");
    return NULL;
  }
  char *path = base_printf("%s/shard/spool", cache);
  free(cache);
  return path;
}

static char *spool_file_part(const ProtobufCBinaryData *bytes) {
  char *text = base_memdup0(bytes->data, bytes->len), *name = project_file_name(text);
  free(text);
  return name;
}

// BUILD-NODE-TIME-PID: no two runs share it.
static char *spool_file_path(const char *folder, const Shardd__Hello *hello) {
  char *build = spool_file_part(&hello->build), *node = spool_file_part(&hello->node);
  char *path = base_printf("%s/%s-%s-%llu-%ld%s", folder, build, node, (unsigned long long)base_wall_us(),
                           (long)getpid(), suffix);
  free(build);
  free(node);
  return path;
}

static void spool_file_put(void *arg, const Shardd__Frame *frame) {
  size_t n = msg_packed_bytes(frame);
  uint8_t *bytes = base_malloc(n + 1);
  if (n) msg_pack(frame, bytes);
  spool_out_put(arg, bytes, n);
  free(bytes);
}

static void spool_file_put_head(struct spool_out *out, const struct spool_file_head *head) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Hello hello = head->hello;
  Shardd__ListOffer offer = SHARDD__LIST_OFFER__INIT;
  hello.token = msg_text("");
  hello.brings = true;
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = &hello;
  spool_file_put(out, &frame);
  if (!head->list) return;
  listing_fill_offer(head->list, &offer);
  frame.body_case = SHARDD__FRAME__BODY_LIST_OFFER;
  frame.list_offer = &offer;
  spool_file_put(out, &frame);
  if (head->whole) listing_send_to(head->list, spool_file_put, out);
}

static void spool_file_put_bye(struct spool_out *out, const struct spool_file_head *head) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Bye bye = head->bye;
  frame.body_case = SHARDD__FRAME__BODY_BYE;
  frame.bye = &bye;
  spool_file_put(out, &frame);
}

static char *spool_file_new(const char *folder, const Shardd__Hello *hello, char *why, size_t why_size) {
  char *in = spool_file_folder(folder, why, why_size);
  if (!in) return NULL;
  char *path = spool_file_path(in, hello);
  free(in);
  return path;
}

static void spool_file_put_all(FILE *file, const struct spool_file_head *head, struct spool *spool) {
  struct spool_out out = {.file = file, .sum = spool_sum_new()};
  const uint8_t *bytes;
  uint8_t sum[SPOOL_SUM_BYTES];
  size_t n;
  spool_file_put_head(&out, head);
  for (spool_rewind(spool); (bytes = spool_next(spool, &n));)
    spool_out_put(&out, bytes, n);
  spool_file_put_bye(&out, head);
  spool_sum_end(out.sum, sum);
  (void)fwrite(sum, 1, sizeof sum, file);
}

// Before the file has its name, so that it is never there without its lock. *lock: -1 where there are no locks.
static int spool_file_replace(const char *path, const struct spool_file_head *head, struct spool *spool, int *lock,
                              char *why, size_t why_size) {
  struct replace replace;
  if (!cache_make_parents(path)) {  // each time: somebody may have tidied up
    snprintf(why, why_size, "cannot make the folder of %s: %s", path, strerror(errno));
    return -1;
  }
  if (replace_open(&replace, path, why, why_size) < 0) return -1;
  spool_file_put_all(replace.out, head, spool);
  bool good = replace_sync(&replace, why, why_size);
  *lock = fcntl(fileno(replace.out), F_DUPFD_CLOEXEC, 0);
  if (*lock >= 0) (void)flock(*lock, LOCK_EX | LOCK_NB);
  return replace_close(&replace, good, why, why_size);
}

void spool_file_let_go(struct spool_file *file) {
  if (file->path && file->lock >= 0) (void)close(file->lock);
  file->lock = -1;
}

int spool_file_write(struct spool_file *file, const char *folder, const struct spool_file_head *head,
                     struct spool *spool, char *why, size_t why_size) {
  int lock = -1;
  char *path = file->path ? file->path : spool_file_new(folder, &head->hello, why, why_size);
  int rc = path ? spool_file_replace(path, head, spool, &lock, why, why_size) : -1;
  if (rc == 0) {
    spool_file_let_go(file);
    *file = (struct spool_file){.path = path, .lock = lock, .seq = spool_last(spool)};
  } else {
    if (path != file->path) free(path);
    if (lock >= 0) (void)close(lock);
  }
  return rc;
}

void spool_file_remove(struct spool_file *file) {
  if (file->path) (void)unlink(file->path);
  spool_file_release(file);
}

void spool_file_acked(struct spool_file *file, uint64_t seq) {
  if (file->path && seq >= file->seq) spool_file_remove(file);
}

void spool_file_release(struct spool_file *file) {
  spool_file_let_go(file);
  free(file->path);
  file->path = NULL;
}

// ---- finding

// To lock it against all others it must be open for writing on some network file systems.
static int spool_file_open(const char *path, const char **why) {
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return files_open(path, FILES_REGULAR, why);
  *why = files_refuse(fd, FILES_REGULAR);
  if (!*why) return fd;
  (void)close(fd);
  return -1;
}

// `how`: LOCK_EX or LOCK_SH. A run that has just put a newer file in its place holds that one.
static enum spool_lock spool_file_lock(int fd, int how) {
  struct stat st;
  if (flock(fd, how | LOCK_NB) != 0) return errno == EWOULDBLOCK ? SPOOL_HELD : SPOOL_UNKNOWN;
  return fstat(fd, &st) == 0 && st.st_nlink == 0 ? SPOOL_HELD : SPOOL_FREE;
}

static enum spool_lock spool_file_look(const char *path) {
  const char *why;
  int fd = files_open(path, FILES_REGULAR, &why);
  if (fd < 0) return SPOOL_FREE;  // whoever reads it will say what is wrong
  enum spool_lock lock = spool_file_lock(fd, LOCK_SH);
  (void)close(fd);
  return lock;
}

static bool spool_file_is(const char *name) {
  size_t n = strlen(name);
  return n >= sizeof suffix && strcmp(name + n - (sizeof suffix - 1), suffix) == 0;
}

// What a run had not finished writing when it was killed: old, and its process is not there. On another machine that
// says nothing; but nobody writes that long.
static bool spool_file_is_rest(const char *path, const char *name) {
  uint64_t pid;
  struct stat st;
  const char *at = strstr(name, ".spool.tmp-");
  if (!at || base_parse_u64(at + sizeof ".spool.tmp-" - 1, 1, INT32_MAX, &pid) != 0) return false;
  if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || time(NULL) - st.st_mtime < REST_AGE_S) return false;
  return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static void spool_file_sort(struct spool_found *found, char *path, const char *name) {
  if (!spool_file_is(name)) {
    if (spool_file_is_rest(path, name)) (void)unlink(path);
    free(path);
    return;
  }
  enum spool_lock lock = spool_file_look(path);
  found->held += lock == SPOOL_HELD;
  found->unknown += lock == SPOOL_UNKNOWN;
  if (lock == SPOOL_FREE)
    found->path[found->count++] = path;
  else
    free(path);
}

int spool_file_find(const char *folder, struct spool_found *found, char *why, size_t why_size) {
  struct dirent **entries = NULL;
  char *in = spool_file_folder(folder, why, why_size);
  if (!in) return -1;
  int n = scandir(in, &entries, NULL, alphasort);
  bool none = n < 0 && errno == ENOENT && !folder[0];  // nothing was ever kept
  if (n < 0 && !none) snprintf(why, why_size, "cannot read %s: %s", in, strerror(errno));
  *found = (struct spool_found){.path = base_calloc((size_t)(n > 0 ? n : 0) + 1, sizeof *found->path)};
  for (int i = 0; i < n; i++) {
    spool_file_sort(found, base_printf("%s/%s", in, entries[i]->d_name), entries[i]->d_name);
    free(entries[i]);
  }
  free(entries);
  free(in);
  if (n >= 0 || none) return 0;
  spool_found_release(found);
  return -1;
}

void spool_found_release(struct spool_found *found) {
  for (size_t i = 0; i < found->count; i++)
    free(found->path[i]);
  free(found->path);
  *found = (struct spool_found){.path = NULL};
}

// ---- reading

struct spool_reader {
  char *path;
  FILE *in;
  struct msg_arena *arena, *own_arena;  // own_arena NULL: it is the caller's
  uint8_t *body;
  uint64_t at, bytes;  // of the frame being read; of all frames
  Shardd__Frame__BodyCase last;
  bool listed;  // the list is whole
};

// 0 and *bytes, what stands before the sum; -1: the file is not as it was written.
static int spool_file_check(FILE *in, uint64_t *bytes) {
  uint8_t part[16384 + SPOOL_SUM_BYTES], sum[SPOOL_SUM_BYTES];
  size_t held = 0, got;
  EVP_MD_CTX *made = spool_sum_new();
  *bytes = 0;
  while ((got = fread(part + held, 1, sizeof part - held, in)) > 0) {
    held += got;
    size_t ready = held > SPOOL_SUM_BYTES ? held - SPOOL_SUM_BYTES : 0;  // the last bytes may be the sum
    spool_sum_add(made, part, ready);
    memmove(part, part + ready, held - ready);
    held -= ready;
    *bytes += ready;
  }
  spool_sum_end(made, sum);
  bool good = !ferror(in) && held == SPOOL_SUM_BYTES && memcmp(sum, part, sizeof sum) == 0;
  return good && fseek(in, 0, SEEK_SET) == 0 ? 0 : -1;
}

struct spool_reader *spool_reader_open(const char *path, char *why, size_t why_size) {
  static const char *const locked[] = {
      [SPOOL_HELD] = "in use by a run, which hands the results over itself, or by another submit",
      [SPOOL_UNKNOWN] =
          "nothing can be locked there, and so it is not known whether its run goes on; if it does not, "
          "hand over a copy from elsewhere"};
  uint64_t bytes;
  const char *problem = "";
  int fd = spool_file_open(path, &problem);
  FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
  if (!in) {
    snprintf(why, why_size, "cannot read %s: %s", path, problem);
    return NULL;
  }
  enum spool_lock lock = spool_file_lock(fd, LOCK_EX);
  for (int i = 0; lock == SPOOL_HELD && i < LOOKS_MAX; i++) {  // whoever looks at all files has it for a moment
    usleep(LOOK_US);
    lock = spool_file_lock(fd, LOCK_EX);
  }
  if (lock == SPOOL_FREE && spool_file_check(in, &bytes) == 0) return spool_reader_new(in, bytes, path, NULL);
  snprintf(why, why_size, "%s: %s", path,
           lock != SPOOL_FREE ? locked[lock]
           : ferror(in)       ? "cannot be read"
                              : "the file is damaged or cut off, or was not written by `shard run`");
  (void)fclose(in);
  return NULL;
}

int spool_reader_remove(const struct spool_reader *reader) {
  struct stat mine, there;
  if (fstat(fileno(reader->in), &mine) != 0 || stat(reader->path, &there) != 0) return -1;
  if (mine.st_dev != there.st_dev || mine.st_ino != there.st_ino) return 0;
  return unlink(reader->path);
}

struct spool_reader *spool_reader_new(FILE *in, uint64_t bytes, const char *name, struct msg_arena *arena) {
  struct spool_reader *reader = base_calloc(1, sizeof *reader);
  reader->path = base_strdup(name);
  reader->in = in;
  reader->bytes = bytes;
  reader->own_arena = arena ? NULL : msg_arena_new(MSG_ARENA_MAX_BYTES);
  reader->arena = arena ? arena : reader->own_arena;
  if (!reader->arena) base_die(EXIT_INFRA, "out of memory");
  reader->body = base_malloc(FRAME_MAX_BYTES);
  return reader;
}

void spool_reader_close(struct spool_reader *reader) {
  if (!reader) return;
  (void)fclose(reader->in);
  msg_arena_free(reader->own_arena);
  free(reader->body);
  free(reader->path);
  free(reader);
}

static int spool_reader_fail(const struct spool_reader *reader, const char *what, char *why, size_t why_size) {
  snprintf(why, why_size, "%s: at byte %llu: %s", reader->path, (unsigned long long)reader->at, what);
  return -1;
}

// What may come after what.
static bool spool_reader_fits(struct spool_reader *reader, const Shardd__Frame *frame) {
  Shardd__Frame__BodyCase last = reader->last;
  Shardd__Frame__BodyCase now = frame->body_case;
  bool chunks = last == SHARDD__FRAME__BODY_LIST_CHUNK && !reader->listed;  // more of them must come
  if (now == SHARDD__FRAME__BODY_HELLO) return last == SHARDD__FRAME__BODY__NOT_SET;
  if (now == SHARDD__FRAME__BODY_LIST_OFFER) return last == SHARDD__FRAME__BODY_HELLO;
  if (now == SHARDD__FRAME__BODY_LIST_CHUNK) {
    reader->listed = frame->list_chunk->last;
    return chunks || last == SHARDD__FRAME__BODY_LIST_OFFER;
  }
  bool behind = last != SHARDD__FRAME__BODY__NOT_SET && last != SHARDD__FRAME__BODY_BYE && !chunks;
  return behind && (now == SHARDD__FRAME__BODY_RESULTS || now == SHARDD__FRAME__BODY_BYE);
}

int spool_reader_next(struct spool_reader *reader, const Shardd__Frame **frame, char *why, size_t why_size) {
  uint32_t header;
  const char *rule;
  uint64_t left = reader->bytes - reader->at;
  if (left == 0 && reader->last == SHARDD__FRAME__BODY_BYE) return 0;
  size_t got = left < sizeof header ? 0 : fread(&header, 1, sizeof header, reader->in);
  if (got < sizeof header) return spool_reader_fail(reader, "the file was cut off", why, why_size);
  size_t bytes = ntohl(header);
  if (bytes == 0 || bytes > FRAME_MAX_BYTES) {
    return spool_reader_fail(reader, "no length of a frame: this is no file of `shard run`", why, why_size);
  }
  if (bytes > left - sizeof header || fread(reader->body, 1, bytes, reader->in) < bytes) {
    return spool_reader_fail(reader, "the file was cut off", why, why_size);
  }
  *frame = msg_unpack(reader->arena, reader->body, bytes, &rule);
  if (!*frame) return spool_reader_fail(reader, rule, why, why_size);
  if (!spool_reader_fits(reader, *frame)) {
    return spool_reader_fail(reader, "a message that does not belong there", why, why_size);
  }
  reader->at += sizeof header + bytes;
  reader->last = (*frame)->body_case;
  return 1;
}
