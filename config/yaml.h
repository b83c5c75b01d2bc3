// A YAML file as a bounded tree that knows its lines: maps, sequences and scalars only. Built from libyaml's event
// API, which alone lets anchors, aliases, tags, depth and duplicate keys be refused (libyaml itself takes quadratic
// time on deep nesting and expands alias bombs). Called by conf.c and by the suite reader; knows no key by name.
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include "config/base.h"

enum {
  YAML_MAX_BYTES = 256 * 1024,
  YAML_MAX_DEPTH = 8,
  YAML_MAX_NODES = 20000,
};

enum yaml_kind { YAML_NODE_SCALAR, YAML_NODE_MAP, YAML_NODE_SEQ };

// A node; members are read freely, the tree owns all of it.
struct yaml_node {
  enum yaml_kind kind;
  unsigned line, column;    // from 1
  const char *text;         // scalar: its text, NUL-terminated, without NUL inside
  bool quoted;              // scalar: it stood in quotes, so it is text whatever it looks like
  size_t count;             // map, seq: number of children
  struct yaml_node **item;  // map, seq: the values
  struct yaml_node **key;   // map: the keys, scalars, unique
};

struct yaml_tree;

// Where and what was wrong, complete for printing: "file:line:column: what".
struct yaml_error {
  char text[512];
};

// Reads a document from memory (`name` is used in messages) or from a file. NULL and *error on failure. An empty
// document is an empty map. The caller frees the tree.
struct yaml_tree *yaml_parse(const char *name, const void *bytes, size_t n, struct yaml_error *error) MUST_CHECK;
struct yaml_tree *yaml_load(const char *path, struct yaml_error *error) MUST_CHECK;
const struct yaml_node *yaml_root(const struct yaml_tree *tree);
const char *yaml_name(const struct yaml_tree *tree);  // as given to yaml_parse, or the path
void yaml_tree_free(struct yaml_tree *tree);          // yaml_free is a symbol of libyaml.so, which would call ours

// Writes "file:line:column: message" about a node into *error, as the parser does: for readers of trees. Text of the
// file inside the message goes through base_quote first; what is longer than the room is cut with "…".
void yaml_set_error(struct yaml_error *error, const struct yaml_tree *tree, const struct yaml_node *at, const char *fmt,
                    ...) PRINTF(4, 5);

// The value under `key` of a map, or NULL.
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

#endif
