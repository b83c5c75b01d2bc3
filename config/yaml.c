// A YAML file as a bounded tree that knows its lines. Called by conf.c for shardd.yml and shard.yml, and by the reader
// of suites. Walks libyaml's events with a stack of its own (no recursion on input), so that what an options file has
// no use for never becomes a tree: anchors, aliases and tags, several documents, deep nesting, keys that stand twice.
// Every refusal says file:line:column, what is wrong and what to do, with the file's own text escaped. Must not know
// any key by name, nor what a value means.
#include "config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "config/escape.h"
#include "config/files.h"

_Static_assert(YAML_MAX_BYTES == 256 * 1024 && YAML_MAX_DEPTH == 8 && YAML_MAX_NODES == 20000, "messages name them");

enum { NAME_SHOWN_BYTES = 200, TEXT_SHOWN_BYTES = 80, ROOM_FIRST = 8 };

struct owned {
  struct yaml_node node;
  char *text;
  struct owned *next;
};

struct yaml_tree {
  char *name;
  struct owned *nodes;  // all of them, latest first
  struct yaml_node *root;
};

// A map or sequence that is open.
struct level {
  struct yaml_node *node, *key;  // key: of a map, read and without its value yet
  size_t room;
};

struct reader {
  yaml_parser_t parser;
  struct yaml_tree *tree;
  struct yaml_error *error;
  const char *bytes;
  size_t n, nodes, depth, documents;
  struct level level[YAML_MAX_DEPTH];
};

static int read_all(int fd, char *bytes, size_t size, size_t *n);
static int check_bytes(struct reader *r);
static int read_events(struct reader *r);
static int on_event(struct reader *r, const yaml_event_t *event);
static int on_scalar(struct reader *r, const yaml_event_t *event);
static int on_open(struct reader *r, const yaml_event_t *event, enum yaml_kind kind);
static int check_plain(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor, const yaml_char_t *tag,
                       const char *default_tag);
static int place(struct reader *r, struct yaml_node *node);
static int place_key(struct reader *r, struct level *level, struct yaml_node *node);
static int new_node(struct reader *r, const yaml_event_t *event, enum yaml_kind kind, struct owned **out);
static int fail_parser(struct reader *r);
static int fail_offset(struct reader *r, size_t offset, const char *what);
static int fail_event(struct reader *r, const yaml_event_t *event, const char *what);
static void set_error(struct yaml_error *error, const char *name, const char *fmt, ...) PRINTF(3, 4);
static void set_message(struct yaml_error *error, const char *name, const char *message);

struct yaml_tree *yaml_parse(const char *name, const void *bytes, size_t n, struct yaml_error *error) {
  struct reader r = {.error = error, .bytes = bytes, .n = n};
  if (!yaml_parser_initialize(&r.parser)) base_die(EXIT_INFRA, "out of memory (YAML parser)");
  r.tree = base_calloc(1, sizeof *r.tree);
  r.tree->name = base_strdup(name);
  if (check_bytes(&r) != 0 || read_events(&r) != 0) {
    yaml_tree_free(r.tree);
    r.tree = NULL;
  }
  yaml_parser_delete(&r.parser);
  return r.tree;
}

struct yaml_tree *yaml_load(const char *path, struct yaml_error *error) {
  const char *why;
  int fd = files_open(path, FILES_STREAM, &why);
  if (fd < 0) {
    set_error(error, path, " cannot be opened: %s; check the path and its permissions", why);
    return NULL;
  }
  char *bytes = base_malloc(YAML_MAX_BYTES + 1);
  struct yaml_tree *tree = NULL;
  size_t n;
  if (read_all(fd, bytes, YAML_MAX_BYTES + 1, &n) == 0)
    tree = yaml_parse(path, bytes, n, error);
  else
    set_error(error, path, " cannot be read: %s; it must be a readable file", strerror(errno));
  free(bytes);
  (void)close(fd);
  return tree;
}

const struct yaml_node *yaml_root(const struct yaml_tree *tree) {
  return tree->root;
}

const char *yaml_name(const struct yaml_tree *tree) {
  return tree->name;
}

void yaml_tree_free(struct yaml_tree *tree) {
  if (tree == NULL) return;
  for (struct owned *o = tree->nodes, *next; o != NULL; o = next) {
    next = o->next;
    free(o->text);
    free(o->node.item);
    free(o->node.key);
    free(o);
  }
  free(tree->name);
  free(tree);
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key) {
  if (map->kind != YAML_NODE_MAP) return NULL;
  for (size_t i = 0; i < map->count; i++)
    if (strcmp(map->key[i]->text, key) == 0) return map->item[i];
  return NULL;
}

void yaml_set_error(struct yaml_error *error, const struct yaml_tree *tree, const struct yaml_node *at, const char *fmt,
                    ...) {
  char message[sizeof error->text];
  int n = snprintf(message, sizeof message, "%u:%u: ", at->line, at->column);
  va_list args;
  va_start(args, fmt);
  (void)vsnprintf(message + n, sizeof message - (size_t)n, fmt, args);
  va_end(args);
  set_message(error, tree->name, message);
}

static int read_all(int fd, char *bytes, size_t size, size_t *n) {
  size_t at = 0;
  while (at < size) {
    ssize_t got = read(fd, bytes + at, size - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    at += (size_t)got;
  }
  *n = at;
  return 0;
}

// What libyaml would guess at or accept: size, encodings other than UTF-8, a byte order mark. Sets the parser's input.
static int check_bytes(struct reader *r) {
  static const char mark[3] = "\xef\xbb\xbf";
  if (r->n > YAML_MAX_BYTES) return fail_offset(r, YAML_MAX_BYTES, "the file passes 256 KiB here; shorten it");
  const char *nul = r->n > 0 ? memchr(r->bytes, '\0', r->n) : NULL;
  if (nul != NULL) return fail_offset(r, (size_t)(nul - r->bytes), "a NUL byte; save the file as UTF-8 text");
  if (r->n >= sizeof mark && memcmp(r->bytes, mark, sizeof mark) == 0) {
    r->bytes += sizeof mark;
    r->n -= sizeof mark;
  }
  static const unsigned char nothing[1];
  yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&r->parser, r->n > 0 ? (const unsigned char *)r->bytes : nothing, r->n);
  return 0;
}

// Feeds the events to the tree. A document without content becomes an empty map.
static int read_events(struct reader *r) {
  bool ended = false;
  while (!ended) {
    yaml_event_t event;
    if (!yaml_parser_parse(&r->parser, &event)) return fail_parser(r);
    ended = event.type == YAML_STREAM_END_EVENT;
    int rc = on_event(r, &event);
    yaml_event_delete(&event);
    if (rc != 0) return -1;
  }
  const struct yaml_node *root = r->tree->root;
  bool empty = root == NULL || (root->kind == YAML_NODE_SCALAR && !root->quoted && root->text[0] == '\0');
  if (!empty) return 0;
  struct owned *map = base_calloc(1, sizeof *map);
  map->node = (struct yaml_node){.kind = YAML_NODE_MAP, .line = 1, .column = 1};
  map->next = r->tree->nodes;
  r->tree->nodes = map;
  r->tree->root = &map->node;
  return 0;
}

static int on_event(struct reader *r, const yaml_event_t *event) {
  switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return 0;
    case YAML_DOCUMENT_START_EVENT:
      if (r->documents++ == 0) return 0;
      return fail_event(r, event, "a second document; keep one document in a file and remove this \"---\"");
    case YAML_ALIAS_EVENT: return fail_event(r, event, "an alias (*); write the value out, aliases are not supported");
    case YAML_SCALAR_EVENT: return on_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT: return on_open(r, event, YAML_NODE_SEQ);
    case YAML_MAPPING_START_EVENT: return on_open(r, event, YAML_NODE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: r->depth--; return 0;
  }
  return fail_event(r, event, "an event of an unknown libyaml; report it with the file");
}

static int on_scalar(struct reader *r, const yaml_event_t *event) {
  const char *text = (const char *)event->data.scalar.value;
  size_t length = event->data.scalar.length;
  const yaml_char_t *tag = event->data.scalar.tag;
  if (check_plain(r, event, event->data.scalar.anchor, tag, YAML_STR_TAG) != 0) return -1;
  if (memchr(text, '\0', length) != NULL) return fail_event(r, event, "a NUL character (\\0); remove it");
  struct owned *fresh;
  if (new_node(r, event, YAML_NODE_SCALAR, &fresh) != 0) return -1;
  fresh->text = base_memdup0(text, length);
  fresh->node.text = fresh->text;
  fresh->node.quoted = tag != NULL || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
  return place(r, &fresh->node);
}

static int on_open(struct reader *r, const yaml_event_t *event, enum yaml_kind kind) {
  bool map = kind == YAML_NODE_MAP;
  const yaml_char_t *anchor = map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
  const yaml_char_t *tag = map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
  struct owned *fresh;
  if (check_plain(r, event, anchor, tag, map ? YAML_MAP_TAG : YAML_SEQ_TAG) != 0) return -1;
  if (r->depth == YAML_MAX_DEPTH) return fail_event(r, event, "nested deeper than 8 levels; make it flatter");
  if (new_node(r, event, kind, &fresh) != 0 || place(r, &fresh->node) != 0) return -1;
  r->level[r->depth++] = (struct level){.node = &fresh->node};
  return 0;
}

// Refuses anchors, and tags other than the one that the value has anyway.
static int check_plain(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor, const yaml_char_t *tag,
                       const char *default_tag) {
  if (anchor != NULL) return fail_event(r, event, "an anchor (&); remove it, anchors and aliases are not supported");
  if (tag == NULL || strcmp((const char *)tag, default_tag) == 0) return 0;
  return fail_event(r, event, "a tag (!); remove it, or put the text in quotes if it starts with \"!\"");
}

// Puts a node where it belongs: the root, a key of the open map, the value of that key, an item of the open sequence.
static int place(struct reader *r, struct yaml_node *node) {
  if (r->depth == 0) {
    r->tree->root = node;
    return 0;
  }
  struct level *level = &r->level[r->depth - 1];
  struct yaml_node *parent = level->node;
  bool map = parent->kind == YAML_NODE_MAP;
  if (map && level->key == NULL) return place_key(r, level, node);
  if (parent->count == level->room) {
    level->room = level->room ? level->room * 2 : ROOM_FIRST;
    parent->item = base_realloc(parent->item, level->room, sizeof(struct yaml_node *));
    if (map) parent->key = base_realloc(parent->key, level->room, sizeof(struct yaml_node *));
  }
  if (map) parent->key[parent->count] = level->key;
  parent->item[parent->count++] = node;
  level->key = NULL;
  return 0;
}

static int place_key(struct reader *r, struct level *level, struct yaml_node *node) {
  if (node->kind != YAML_NODE_SCALAR) {
    yaml_set_error(r->error, r->tree, node, "a map or sequence used as a key; write a plain word before the colon");
    return -1;
  }
  for (size_t i = 0; i < level->node->count; i++) {
    const struct yaml_node *other = level->node->key[i];
    if (strcmp(other->text, node->text) != 0) continue;
    char shown[TEXT_SHOWN_BYTES];
    (void)base_quote(shown, sizeof shown, node->text, strlen(node->text));
    yaml_set_error(r->error, r->tree, node, "the key %s stands twice, first on line %u; remove one of them", shown,
                   other->line);
    return -1;
  }
  level->key = node;
  return 0;
}

static int new_node(struct reader *r, const yaml_event_t *event, enum yaml_kind kind, struct owned **out) {
  if (++r->nodes > YAML_MAX_NODES) return fail_event(r, event, "more than 20000 keys and values; shorten the file");
  struct owned *fresh = base_calloc(1, sizeof *fresh);
  fresh->node.kind = kind;
  fresh->node.line = (unsigned)event->start_mark.line + 1;
  fresh->node.column = (unsigned)event->start_mark.column + 1;
  fresh->next = r->tree->nodes;
  r->tree->nodes = fresh;
  *out = fresh;
  return 0;
}

// What libyaml found, with its words turned into advice where they need it.
static int fail_parser(struct reader *r) {
  static const struct {
    const char *problem, *advice;
  } known[] = {
      {"cannot start any token", "indent with spaces, not tabs, and put text that starts with @, ` or % in quotes"},
      {"mapping values are not allowed", "put text with a colon in quotes, and check the indentation"},
      {"could not find expected ':'", "write \"key: value\", with a colon and a space"},
      {"did not find expected key", "check the indentation, and that lists and quotes are closed"},
      {"unexpected end of stream", "close the quote that was opened"},
      {"undefined tag handle", "remove the tag, or put the text in quotes if it starts with \"!\""},
      {"did not find expected ',' or", "close the bracket, and separate items by commas"},
      {"escape", "inside double quotes write a backslash as \\\\, or use single quotes"},
  };
  const yaml_parser_t *p = &r->parser;
  const char *problem = p->problem ? p->problem : "not YAML";
  const char *advice = "check the indentation and the quotes around this place";
  if (p->error == YAML_MEMORY_ERROR) base_die(EXIT_INFRA, "out of memory (YAML parser)");
  if (p->error == YAML_READER_ERROR)
    return fail_offset(r, p->problem_offset, "not text in UTF-8; save the file as UTF-8");
  for (size_t i = COUNT_OF(known); i-- > 0;)
    if (strstr(problem, known[i].problem) != NULL) advice = known[i].advice;
  set_error(r->error, r->tree->name, "%zu:%zu: %s%s%s; %s", p->problem_mark.line + 1, p->problem_mark.column + 1,
            p->context ? p->context : "", p->context ? ": " : "", problem, advice);
  return -1;
}

// For trouble below libyaml's marks: line and column (in characters) of a byte.
static int fail_offset(struct reader *r, size_t offset, const char *what) {
  unsigned line = 1, column = 1;
  for (size_t i = 0; i < offset && i < r->n; i++) {
    bool starts = ((unsigned char)r->bytes[i] & 0xc0) != 0x80;
    if (starts) column++;
    if (r->bytes[i] != '\n') continue;
    line++;
    column = 1;
  }
  set_error(r->error, r->tree->name, "%u:%u: %s", line, column, what);
  return -1;
}

static int fail_event(struct reader *r, const yaml_event_t *event, const char *what) {
  set_error(r->error, r->tree->name, "%zu:%zu: %s", event->start_mark.line + 1, event->start_mark.column + 1, what);
  return -1;
}

static void set_error(struct yaml_error *error, const char *name, const char *fmt, ...) {
  char message[sizeof error->text];
  va_list args;
  va_start(args, fmt);
  (void)vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  set_message(error, name, message);
}

// "name:message", the name's tail when it is long, everything escaped: it is printed on terminals and into logs.
static void set_message(struct yaml_error *error, const char *name, const char *message) {
  size_t length = strlen(name), room = sizeof error->text - 1, at = 0;
  if (length > NAME_SHOWN_BYTES) {
    at = escape_bytes(error->text, room, "…", strlen("…"), ESCAPE_LINE);
    name += length - NAME_SHOWN_BYTES;
  }
  at += escape_bytes(error->text + at, NAME_SHOWN_BYTES, name, strlen(name), ESCAPE_LINE);
  error->text[at++] = ':';
  at += escape_bytes(error->text + at, room - at, message, strlen(message), ESCAPE_LINE);
  error->text[at] = '\0';
}
