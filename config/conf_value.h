// One option's value: text to value, value to text, and who owns it. Shared by conf.c, conf_args.c and the programs'
// settings files, which alone decide where the text came from.
#ifndef CONFIG_CONF_VALUE_H
#define CONFIG_CONF_VALUE_H

#include <stdio.h>

#include "config/conf.h"

// A value that is not in any settings yet; the member that the key's type names is used.
struct conf_value {
  bool flag;
  uint64_t number;
  int choice;
  char *string;
  struct conf_list list;
};

struct conf_why {
  char text[400];  // "\"5x\" is …; it takes …", without the name of the option
};

// Separators of a LIST in one text.
#define CONF_SPLIT_NEVER ""
#define CONF_SPLIT_DEFAULT " "
#define CONF_SPLIT_ENV " ,\t\n"

// Reads `text` as a value of `key`; *out is then the caller's, for conf_value_store or conf_value_drop. 0; -1 and *why.
int conf_value_read(const struct conf_key *key, const char *text, const char *separators, struct conf_value *out,
                    struct conf_why *why) MUST_CHECK;

// Writes to *why what `key` takes, behind `what` was wrong.
void conf_value_explain(const struct conf_key *key, const char *what, struct conf_why *why);

// Moves a value into the settings; what stood there is freed.
void conf_value_store(const struct conf_key *key, void *settings, const struct conf_value *value);

// Moves the items of a LIST value behind those in the settings.
void conf_value_append(const struct conf_key *key, void *settings, const struct conf_value *value);

// Frees what a value owns, or what the settings own for this key.
void conf_value_drop(const struct conf_key *key, struct conf_value *value);
void conf_value_release(const struct conf_key *key, void *settings);

// Sets the default over memory that owns nothing yet. Ends the program when the table's own default is no value.
void conf_value_init(const struct conf_key *key, void *settings);

// Copies the value of one key from one settings struct to another of the same table; whether both have the same.
void conf_value_copy(const struct conf_key *key, void *to, const void *from);
bool conf_value_equal(const struct conf_key *key, const void *a, const void *b);

// Prints the value as YAML behind "name: " ("15s", "yes", "\"text\"", "[\"a\", \"b\"]").
void conf_value_print(const struct conf_key *key, const void *settings, FILE *out);

// Whether a number is inside the key's bounds; other types always are.
bool conf_value_in_bounds(const struct conf_key *key, const void *settings);

// The shortest text that reads back as this number of a DURATION, SIZE or UINT key; returns out.
const char *conf_value_number_text(enum conf_type type, uint64_t number, char *out, size_t out_size);

#endif
