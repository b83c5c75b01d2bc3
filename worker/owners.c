// CODEOWNERS. Called by admin.c and history.c. Patterns are owners_match.c's; must not ask the server. The last rule
// decides, so a file of which a part would be left out is refused.
#include "worker/owners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/files.h"
#include "worker/decode.h"
#include "worker/owners_match.h"

enum { LINE_BYTES = 4096, RULES_MAX = 20000 };

struct rule {
  char *pattern, *owners;
};

struct owners {
  struct rule *rule;
  size_t count;
  Shardd__Rows rows;  // of the last owners_add
  ProtobufCBinaryData *column, *cell;
  uint32_t *type;
};

static const char *const places[] = {"CODEOWNERS", ".github/CODEOWNERS", ".gitlab/CODEOWNERS", "docs/CODEOWNERS"};

static int read_all(struct owners *owners, FILE *file, const char *path, char *why, size_t why_size);
static void read_line(struct owners *owners, char *line, char **section);
static void read_section(char *line, char **section);
static size_t pattern_bytes(const char *line);
static void forget(struct owners *owners);

int owners_load(const char *path, struct owners **out, char *why, size_t why_size) {
  const char *problem;
  FILE *file = path[0] != '\0' ? decode_stream(files_read(path, FILES_STREAM, &problem)) : NULL;
  if (path[0] != '\0' && file == NULL) {
    (void)snprintf(why, why_size, "%s: cannot read the owners: %s", path, problem);
    return -1;
  }
  for (size_t i = 0; i < COUNT_OF(places) && file == NULL; i++)
    file = decode_stream(files_read(path = places[i], FILES_REGULAR, &problem));
  *out = NULL;
  if (file == NULL) return 0;
  struct owners *owners = base_calloc(1, sizeof *owners);
  int rc = read_all(owners, file, path, why, why_size);
  (void)fclose(file);
  if (rc == 0)
    *out = owners;
  else
    owners_free(owners);
  return rc;
}

void owners_free(struct owners *owners) {
  if (owners == NULL) return;
  for (size_t i = 0; i < owners->count; i++) {
    free(owners->rule[i].pattern);
    free(owners->rule[i].owners);
  }
  forget(owners);
  free(owners->rule);
  free(owners);
}

const char *owners_of(const struct owners *owners, const char *file) {
  while (strncmp(file, "./", 2) == 0)
    file += 2;
  for (size_t i = owners->count; i-- > 0;)
    if (owners_match(owners->rule[i].pattern, file)) return owners->rule[i].owners;
  return "";
}

struct answer owners_add(struct owners *owners, const struct answer *answer) {
  int file = owners != NULL ? answer_column(answer, "file") : ANSWER_NO_COLUMN;
  struct answer both = *answer;
  if (file == ANSWER_NO_COLUMN) return both;
  size_t columns = answer->column_count;
  forget(owners);
  owners->column = base_calloc(columns + 1, sizeof *owners->column);
  owners->type = base_calloc(columns + 1, sizeof *owners->type);
  owners->cell = base_calloc(answer->row_count * (columns + 1) + 1, sizeof *owners->cell);
  memcpy(owners->column, answer->rows->column, columns * sizeof *owners->column);
  memcpy(owners->type, answer->rows->type, columns * sizeof *owners->type);
  owners->column[columns] = msg_text("owner");
  owners->type[columns] = SHARDD__COLUMN_TYPE__COLUMN_TEXT;
  for (size_t row = 0; row < answer->row_count; row++) {
    char *name = answer_text(answer, row, file);
    if (name[0] == '\0') {  // tests that are files themselves
      free(name);
      name = answer_get_text(answer, row, "test");
      name[strcspn(name, ":")] = '\0';
    }
    memcpy(owners->cell + row * (columns + 1), answer->rows->cell + row * columns, columns * sizeof *owners->cell);
    owners->cell[row * (columns + 1) + columns] = msg_text(owners_of(owners, name));
    free(name);
  }
  owners->rows = *answer->rows;
  owners->rows.column = owners->column;
  owners->rows.type = owners->type;
  owners->rows.cell = owners->cell;
  owners->rows.n_column = owners->rows.n_type = columns + 1;
  owners->rows.n_cell = answer->row_count * (columns + 1);
  if (answer_init(&both, &owners->rows) != 0) return *answer;
  return both;
}

static void forget(struct owners *owners) {
  free(owners->column);
  free(owners->type);
  free(owners->cell);
  owners->column = owners->cell = NULL;
  owners->type = NULL;
}

static int read_all(struct owners *owners, FILE *file, const char *path, char *why, size_t why_size) {
  char line[LINE_BYTES], *section = base_strdup("");
  const char *wrong = NULL;
  unsigned number = 1;
  for (; fgets(line, sizeof line, file) != NULL; number++) {
    if (strlen(line) == sizeof line - 1 && line[sizeof line - 2] != '\n') wrong = "a line is longer than 4094 bytes";
    if (owners->count == RULES_MAX) wrong = "there are more than 20,000 rules";
    if (wrong != NULL) break;
    read_line(owners, line, &section);
  }
  if (ferror(file)) wrong = strerror(errno);
  free(section);
  if (wrong == NULL) return 0;
  (void)snprintf(why, why_size, "%s:%u: %s", path, number, wrong);
  return -1;
}

static void read_line(struct owners *owners, char *line, char **section) {
  line[strcspn(line, "\r\n")] = '\0';
  for (char *hash = line; (hash = strchr(hash, '#')) != NULL; hash++)
    if (hash == line || (hash[-1] == ' ' || hash[-1] == '\t')) {
      *hash = '\0';
      break;
    }
  line += strspn(line, " \t");
  for (size_t n = strlen(line); n > 0 && strchr(" \t", line[n - 1]); n--)
    line[n - 1] = '\0';
  if (line[0] == '\0') return;
  if (line[0] == '[' || strncmp(line, "^[", 2) == 0) {
    read_section(line, section);
    return;
  }
  size_t n = pattern_bytes(line);
  const char *who = line + n + strspn(line + n, " \t");
  owners->rule = base_realloc(owners->rule, owners->count + 1, sizeof *owners->rule);
  owners->rule[owners->count++] =
      (struct rule){.pattern = base_memdup0(line, n), .owners = base_strdup(who[0] != '\0' ? who : *section)};
}

// "[Name][2] @default": what owns entries that name nobody.
static void read_section(char *line, char **section) {
  char *end = strrchr(line, ']');
  free(*section);
  *section = base_strdup(end != NULL ? end + 1 + strspn(end + 1, " \t") : "");
}

static size_t pattern_bytes(const char *line) {
  size_t n = 0;
  while (line[n] != '\0' && line[n] != ' ' && line[n] != '\t')
    n += line[n] == '\\' && line[n + 1] != '\0' ? 2 : 1;
  return n;
}
