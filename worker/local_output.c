// Prefixes lines. Called by local.c with what a worker wrote to one of its streams; a stream's bytes stay in order, the
// streams of all workers share one terminal line by line. It must not interpret what it carries: colours and text pass.
#include "worker/local_output.h"

#include <stdlib.h>
#include <string.h>

struct local_output {
  FILE *out;
  char *prefix;
  struct progress *progress;
  char line[LOCAL_OUTPUT_LINE_MAX_BYTES];
  size_t line_bytes;
  bool returned;  // the last byte was a carriage return: a line feed behind it belongs to the same line end
};

static void add(struct local_output *output, const char *bytes, size_t n);
static void end_line(struct local_output *output);

struct local_output *local_output_new(FILE *out, const char *prefix, struct progress *progress) {
  struct local_output *output = base_malloc(sizeof *output);
  output->out = out;
  output->prefix = base_strdup(prefix);
  output->progress = progress;
  output->line_bytes = 0;
  output->returned = false;
  return output;
}

void local_output_feed(struct local_output *output, const char *bytes, size_t n) {
  bool shown = false;
  for (size_t i = 0; i < n;) {
    size_t length = 0;
    while (i + length < n && bytes[i + length] != '\n' && bytes[i + length] != '\r')
      length++;
    bool ended = i + length < n, feed_only = ended && length == 0 && bytes[i] == '\n' && output->returned;
    if ((ended || output->line_bytes + length > sizeof output->line) && !shown) {
      progress_hide(output->progress);
      shown = true;
    }
    add(output, bytes + i, length);
    if (ended && !feed_only) end_line(output);
    if (ended || length > 0) output->returned = ended && bytes[i + length] == '\r';
    i += length + ended;
  }
  if (!shown) return;
  (void)fflush(output->out);
  progress_show(output->progress);
}

void local_output_finish(struct local_output *output) {
  if (output == NULL) return;
  if (output->line_bytes > 0) local_output_feed(output, "\n", 1);
  free(output->prefix);
  free(output);
}

static void add(struct local_output *output, const char *bytes, size_t n) {
  while (n > 0) {
    size_t room = sizeof output->line - output->line_bytes, part = n < room ? n : room;
    memcpy(output->line + output->line_bytes, bytes, part);
    output->line_bytes += part;
    bytes += part;
    n -= part;
    if (n > 0) end_line(output);
  }
}

static void end_line(struct local_output *output) {
  (void)fputs(output->prefix, output->out);
  (void)fwrite(output->line, 1, output->line_bytes, output->out);
  (void)fputc('\n', output->out);
  output->line_bytes = 0;
}
