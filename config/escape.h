// Text of strangers made safe to show: names of tests, files and keys may carry terminal commands, line breaks that
// forge a log line, or bidirectional controls that show one thing and mean another. Called by base.c for the log and
// for last words, by yaml.c and conf.c for what they quote from files. Knows only bytes.
#ifndef CONFIG_ESCAPE_H
#define CONFIG_ESCAPE_H

#include "config/base.h"

enum escape_form {
  ESCAPE_QUOTED,  // stands between double quotes: quotes and backslashes get a backslash
  ESCAPE_LINE,    // one line: everything but controls stays
  ESCAPE_TEXT,    // several lines: line feeds and tabs stay too
  ESCAPE_BYTES,   // as ESCAPE_TEXT, for a file: bytes that are no UTF-8 stay, unless a terminal takes them for commands
  ESCAPE_YAML,    // stands between double quotes of a YAML file: codes as \xNN, \uNNNN, malformed bytes as \ufffd
};

// Copies `n` bytes to out, at most `room` of them, without a NUL: printable ASCII and harmless UTF-8 as they are, every
// other byte as \xNN (what ESCAPE_YAML writes, a YAML reader turns back). Never cuts inside a character; "…" ends what
// was cut, if it fits. Returns the bytes written.
size_t escape_bytes(char *out, size_t room, const void *bytes, size_t n, enum escape_form form);

#endif
