// The quarantine's subcommands. Called by main.c. What may be muted, and for how long, is the server's to say; its
// refusals are printed with the test they are about.
#include "worker/quarantine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/admin.h"
#include "worker/human.h"
#include "worker/quarantine_file.h"
#include "worker/show.h"

enum { ENTRIES_MAX = 10000, NAME_BYTES = 1024 };
enum { CLOCKS_MS = 60000 };  // by so much the clock that ended an entry at midnight may differ from the server's
enum { EXPORTED_TEST, EXPORTED_REASON, EXPORTED_WHO, EXPORTED_TICKET, EXPORTED_EXTEND, EXPORTED_STATUS, EXPORTED };
static const char *const exported[] = {"test", "reason", "who", "ticket", "extend", "status"};

struct export {
  size_t entries;
  bool begun;
};

struct entry {
  const char *test, *reason, *who, *ticket;
  uint64_t life_ms;
  bool file, extend;
};

// An entry as the server has it.
struct known {
  char *test, *reason, *who, *ticket;
  uint64_t expires_ms;
  bool file, muted, extend;  // from a file; its time is not over; at its end it will be muted once more
};

// The server's entries become those of a file.
struct import {
  const struct options *options;
  struct ask *ask;
  struct quarantine_file file;
  struct known *known;
  size_t known_count;
  uint64_t now_ms;
  size_t put, dropped, same, refused;  // a refused entry stops no other
};

static int add(const struct options *options, const char *test);
static int take_out(const struct options *options, const char *test);
static int list(const struct options *options);
static int export_entries(const struct options *options);
static int import_entries(const struct options *options, const char *path);

static const struct action {
  const char *name;
  int (*bare)(const struct options *options);
  int (*with)(const struct options *options, const char *word);
  const char *otherwise;  // the word, when there is none; NULL: it must be given
  const char *usage;      // behind the name
} actions[] = {
    {"add", NULL, add, NULL, " ID --reason TEXT"},
    {"remove", NULL, take_out, NULL, " ID"},
    {"list", list, NULL, NULL, ""},
    {"export", export_entries, NULL, NULL, ", which prints a file"},
    {"import", NULL, import_entries, "quarantine.yml", " [FILE]"},
};

static const char *who(const struct options *options);
static int by_hand(const struct options *options, Shardd__QueryKind kind, const struct entry *entry);
static int ask_mute(struct ask *ask, const struct options *options, Shardd__QueryKind kind, const struct entry *entry,
                    struct ask_error *error);
static void say(const struct quarantine_file *file, const char *test, const char *text);
static int on_export(void *arg, const struct answer *answer);
static int on_known(void *arg, const struct answer *answer);
static int import_end(const struct import *import);
static void known_release(struct known *known);
static int import_known(struct import *import);
static int import_drop(struct import *import);
static const char *import_drop_why(const struct import *import, const struct known *known);
static int import_put(struct import *import);
static void import_say_over(const struct import *import, const struct quarantine_entry *told);
static bool extended(const struct known *known, const struct quarantine_entry *told);
static bool same(const struct known *known, const struct quarantine_entry *told);
static const struct known *import_find(const struct import *import, const char *test);
static int import_change(struct import *import, Shardd__QueryKind kind, const struct entry *entry, size_t *done);

int quarantine_main(struct options *options, char **words, size_t count, char **command) {
  (void)command;
  for (size_t i = 0; i < COUNT_OF(actions); i++) {
    const struct action *action = &actions[i];
    if (strcmp(words[0], action->name) != 0) continue;
    const char *word = count > 1 ? words[1] : action->otherwise;
    if ((action->bare != NULL) != (count == 1) && action->otherwise == NULL) {
      fprintf(stderr, "shard quarantine: say shard quarantine %s%s\n", action->name, action->usage);
      return EXIT_USAGE;
    }
    return action->bare != NULL ? action->bare(options) : action->with(options, word);
  }
  fprintf(stderr, "shard quarantine: say add ID, remove ID, list, export, or import [FILE]\n");
  return EXIT_USAGE;
}

static int add(const struct options *options, const char *test) {
  const struct entry entry = {.test = test,
                              .reason = options->reason,
                              .who = who(options),
                              .ticket = options->ticket,
                              .life_ms = options->for_us / 1000,
                              .extend = options->extend};
  if (options->reason[0] == '\0') {
    fprintf(stderr, "shard quarantine: say why with --reason\n");
    return EXIT_USAGE;
  }
  return by_hand(options, SHARDD__QUERY_KIND__QUERY_MUTE, &entry);
}

static int take_out(const struct options *options, const char *test) {
  const struct entry entry = {
      .test = test, .reason = options->reason[0] ? options->reason : "taken out", .who = who(options), .ticket = ""};
  return by_hand(options, SHARDD__QUERY_KIND__QUERY_UNMUTE, &entry);
}

static const char *who(const struct options *options) {
  const char *user = getenv("USER");
  return options->who[0] != '\0' ? options->who : user != NULL ? user : "";
}

static int by_hand(const struct options *options, Shardd__QueryKind kind, const struct entry *entry) {
  struct ask_error error;
  struct ask *ask;
  if (!msg_id_valid(entry->test, strlen(entry->test))) {
    fprintf(stderr, "shard quarantine: the id of a test has one line of at most %d bytes\n", MSG_ID_MAX_BYTES);
    return EXIT_USAGE;
  }
  if (strlen(entry->reason) > NAME_BYTES || strlen(entry->who) > NAME_BYTES || strlen(entry->ticket) > NAME_BYTES) {
    fprintf(stderr, "shard quarantine: --reason, --who and --ticket take at most %d bytes\n", NAME_BYTES);
    return EXIT_USAGE;
  }
  int code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  if (ask_mute(ask, options, kind, entry, &error) != 0) {
    say(NULL, entry->test, error.text);
    code = error.exit_code;
  }
  ask_close(ask);
  return code;
}

static int list(const struct options *options) {
  const struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_QUARANTINE, .empty = "no test is muted", .any_suite = true};
  return show_run(options, &show);
}

static int ask_mute(struct ask *ask, const struct options *options, Shardd__QueryKind kind, const struct entry *entry,
                    struct ask_error *error) {
  Shardd__Query query = SHARDD__QUERY__INIT;
  struct answer answer;
  query.kind = kind;
  query.project = msg_text(options->project);
  query.suite = msg_text(options->suite);
  query.test = msg_text(entry->test);
  query.reason = msg_text(entry->reason);
  query.who = msg_text(entry->who);
  query.ticket = msg_text(entry->ticket);
  query.life_ms = entry->life_ms;
  query.mute_flags = (entry->file ? 1u : 0u) | (entry->extend ? 2u : 0u);
  return ask_wait(ask, &query, (unsigned)(options->connect_timeout_us / 1000), &answer, error);
}

// About a test; an entry of the file with its place in it.
static void say(const struct quarantine_file *file, const char *test, const char *text) {
  const struct quarantine_entry *told = file != NULL ? quarantine_file_find(file, test) : NULL;
  char *safe = human_safe(test, strlen(test), ESCAPE_LINE);
  fprintf(stderr, "shard quarantine: ");
  if (told != NULL) {
    const char *path = yaml_name(file->tree);
    char *name = human_safe(path, strlen(path), ESCAPE_LINE);
    fprintf(stderr, "%s:%u:%u: ", name, told->line, told->column);
    free(name);
  }
  fprintf(stderr, "%s: %s\n", safe, text);
  free(safe);
}

// ---- quarantine.yml

static int export_entries(const struct options *options) {
  struct export export = {0};
  const struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_QUARANTINE, .limit = ENTRIES_MAX, .on_page = on_export, .arg = &export};
  int code = show_run(options, &show);
  if (code != EXIT_OK) return code;
  if (export.entries == 0) printf("[]\n");
  return fflush(stdout) == 0 ? EXIT_OK : admin_fail_output();
}

static int on_export(void *arg, const struct answer *answer) {
  struct export *export = arg;
  if (!export->begun) printf("# Muted tests; `shard quarantine import` takes this file over.\n");
  export->begun = true;
  for (size_t row = 0; row < answer->row_count; row++) {
    char *text[EXPORTED];
    for (int i = 0; i < EXPORTED; i++)
      text[i] = answer_get_text(answer, row, exported[i]);
    uint64_t expires_ms = (uint64_t)answer_get_number(answer, row, "expires", 0);
    const struct quarantine_entry entry = {.test = text[EXPORTED_TEST],
                                           .reason = text[EXPORTED_REASON],
                                           .who = text[EXPORTED_WHO],
                                           .ticket = text[EXPORTED_TICKET],
                                           .until_ms = expires_ms > CLOCKS_MS ? expires_ms - CLOCKS_MS : 0,
                                           .extend = text[EXPORTED_EXTEND][0] != '\0'};
    bool muted = strcmp(text[EXPORTED_STATUS], "muted") == 0;
    if (muted) quarantine_file_print(stdout, &entry);
    export->entries += muted;
    for (int i = 0; i < EXPORTED; i++)
      free(text[i]);
  }
  return ferror(stdout) ? admin_fail_output() : EXIT_OK;
}

static int import_entries(const struct options *options, const char *path) {
  struct import import = {.options = options, .now_ms = base_wall_us() / 1000};
  struct yaml_error error;
  if (quarantine_file_read(&import.file, path, &error) != 0) {
    fprintf(stderr, "shard quarantine: %s\n", error.text);
    return EXIT_USAGE;
  }
  int code = admin_open(options, &import.ask);
  if (code == EXIT_OK) code = import_known(&import);
  if (code == EXIT_OK) code = import_drop(&import);
  if (code == EXIT_OK) code = import_put(&import);
  if (code == EXIT_OK) code = import_end(&import);
  ask_close(import.ask);
  for (size_t i = 0; i < import.known_count; i++)
    known_release(&import.known[i]);
  free(import.known);
  quarantine_file_release(&import.file);
  return code;
}

static int import_end(const struct import *import) {
  printf("%zu tests muted or renewed, %zu taken out, %zu as they were", import->put, import->dropped, import->same);
  if (import->refused > 0) printf(", %zu refused", import->refused);
  printf("\n");
  if (fflush(stdout) != 0) return admin_fail_output();
  return import->refused > 0 ? EXIT_USAGE : EXIT_OK;
}

static int import_known(struct import *import) {
  const struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_QUARANTINE, .limit = ENTRIES_MAX, .on_page = on_known, .arg = import};
  return show_ask(import->ask, import->options, &show);
}

static int on_known(void *arg, const struct answer *answer) {
  struct import *import = arg;
  import->known = base_realloc(import->known, import->known_count + answer->row_count + 1, sizeof *import->known);
  for (size_t row = 0; row < answer->row_count; row++) {
    char *origin = answer_get_text(answer, row, "origin"), *status = answer_get_text(answer, row, "status");
    char *extend = answer_get_text(answer, row, "extend");
    import->known[import->known_count++] =
        (struct known){.test = answer_get_text(answer, row, "test"),
                       .reason = answer_get_text(answer, row, "reason"),
                       .who = answer_get_text(answer, row, "who"),
                       .ticket = answer_get_text(answer, row, "ticket"),
                       .expires_ms = (uint64_t)answer_get_number(answer, row, "expires", 0),
                       .file = strcmp(origin, "file") == 0,
                       .muted = strcmp(status, "muted") == 0,
                       .extend = extend[0] != '\0'};
    free(origin);
    free(status);
    free(extend);
  }
  return EXIT_OK;
}

static void known_release(struct known *known) {
  free(known->test);
  free(known->reason);
  free(known->who);
  free(known->ticket);
}

// Before others enter: a suite has room for so many.
static int import_drop(struct import *import) {
  int code = EXIT_OK;
  for (size_t i = 0; i < import->known_count && code == EXIT_OK; i++) {
    struct known *known = &import->known[i];
    const char *why = import_drop_why(import, known);
    if (why == NULL) continue;
    const struct entry entry = {.test = known->test, .reason = why, .who = "", .ticket = "", .file = true};
    code = import_change(import, SHARDD__QUERY_KIND__QUERY_UNMUTE, &entry, &import->dropped);
  }
  return code;
}

// NULL: it stays. What has expired on the server stays in its list until the file drops or renews it.
static const char *import_drop_why(const struct import *import, const struct known *known) {
  if (!known->file) return NULL;
  const struct quarantine_entry *told = quarantine_file_find(&import->file, known->test);
  if (told == NULL) return "no longer in the file";
  bool ends = told->until_ms <= import->now_ms && known->muted && !extended(known, told);
  return ends ? "its time in the file is over" : NULL;
}

// The server has muted it once more since its day was over.
static bool extended(const struct known *known, const struct quarantine_entry *told) {
  return known->file && known->muted && told->extend && !known->extend;
}

static int import_put(struct import *import) {
  int code = EXIT_OK;
  for (size_t i = 0; i < import->file.count && code == EXIT_OK; i++) {
    const struct quarantine_entry *told = &import->file.entry[i];
    const struct entry entry = {.test = told->test,
                                .reason = told->reason,
                                .who = told->who,
                                .ticket = told->ticket,
                                .life_ms = told->until_ms - import->now_ms,
                                .file = true,
                                .extend = told->extend};
    if (told->until_ms <= import->now_ms)
      import_say_over(import, told);
    else if (same(import_find(import, told->test), told))
      import->same++;
    else
      code = import_change(import, SHARDD__QUERY_KIND__QUERY_MUTE, &entry, &import->put);
  }
  return code;
}

// An entry that nobody changed is left alone: its change would stand in the log with each import.
static bool same(const struct known *known, const struct quarantine_entry *told) {
  if (known == NULL || !known->file || !known->muted || known->extend != told->extend) return false;
  return known->expires_ms < told->until_ms + CLOCKS_MS && told->until_ms < known->expires_ms + CLOCKS_MS &&
         strcmp(known->reason, told->reason) == 0 && strcmp(known->who, told->who) == 0 &&
         strcmp(known->ticket, told->ticket) == 0;
}

static const struct known *import_find(const struct import *import, const char *test) {
  for (size_t i = 0; i < import->known_count; i++)
    if (strcmp(import->known[i].test, test) == 0) return &import->known[i];
  return NULL;
}

static void import_say_over(const struct import *import, const struct quarantine_entry *told) {
  const struct known *known = import_find(import, told->test);
  const char *text = "its time is over: it gates again";
  if (known != NULL && extended(known, told))
    text = "its time is over: it is muted once more, as extend says";
  else if (known != NULL && known->muted && !known->file)
    text = "its time is over: it stays muted by an entry that is not from a file";
  say(&import->file, told->test, text);
}

// What speaks against one entry is printed and remembered; an exit code when nothing more can be asked.
static int import_change(struct import *import, Shardd__QueryKind kind, const struct entry *entry, size_t *done) {
  struct ask_error error;
  if (ask_mute(import->ask, import->options, kind, entry, &error) == 0) {
    ++*done;
    return EXIT_OK;
  }
  say(&import->file, entry->test, error.text);
  if (error.failure != ASK_UNKNOWN) return error.exit_code;
  import->refused++;
  return EXIT_OK;
}
