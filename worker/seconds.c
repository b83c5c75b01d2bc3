// Times as text. Called by junit.c, tap.c and timings.c. Looks at the form first and converts afterwards, so that
// nothing which strtod would take on its own (NaN, infinity, hexadecimal, a sign) comes through, and no conversion of a
// number is out of range.
#include "worker/seconds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/limits.h"

static const char digits[] = "0123456789";

// A number taken apart: "1,234,567.89e-3".
struct form {
  char text[LIMIT_NUMBER_BYTES];
  size_t commas, points;
  const char *last_comma, *last_point;  // NULL: none
};

static bool read_form(const char *text, struct form *form);
static bool grouped(const char *text, size_t n, char separator);
static bool convert(const struct form *form, char decimal, unsigned unit_us, uint64_t *us);

int seconds_read(const char *text, unsigned unit_us, struct seconds_seen *seen, struct seconds *out) {
  struct seconds_seen ignored = {0};
  struct form form;
  if (seen == NULL) seen = &ignored;
  if (!read_form(text, &form)) return -1;
  size_t whole =
      strcspn(form.text, form.commas > 0 && form.points > 0 && form.last_comma > form.last_point ? "," : ".eE");
  bool thousands = form.commas > 0 && form.points <= 1 && grouped(form.text, whole, ',');
  bool both = thousands && form.commas == 1 && form.points == 0 && form.text[whole] == '\0';
  bool european = form.commas == 1 && form.points > 0 && form.last_comma > form.last_point &&
                  grouped(form.text, (size_t)(form.last_comma - form.text), '.');
  bool comma = european || (form.commas == 1 && form.points == 0 && !thousands);
  if (form.commas > 0 ? !comma && !thousands : form.points > 1) return -1;
  uint64_t us = 0, comma_us = 0;
  bool ok = convert(&form, comma ? ',' : '.', unit_us, &us), comma_ok = ok;
  comma_us = us;
  if (both) comma_ok = convert(&form, ',', unit_us, &comma_us);
  if (!ok && !comma_ok) return -1;
  if (comma) seen->comma = true;
  if (!comma && !both && form.commas + form.points > 0) seen->point = true;
  *out = (struct seconds){.us = ok ? us : comma_us, .comma_us = comma_us};
  return 0;
}

bool seconds_decimal_comma(const struct seconds_seen *seen) {
  return seen->comma && !seen->point;
}

// Blanks around it are dropped. Only what a decimal number is made of passes; "-0" is 0, as rounding leaves it.
static bool read_form(const char *text, struct form *form) {
  *form = (struct form){.commas = 0};
  text += strspn(text, " \t\r\n");
  if (*text == '-') {  // negative, unless all its digits are 0
    text++;
    if (text[strspn(text, "0.,")] != '\0') return false;
  }
  size_t mantissa = strspn(text, "0123456789.,"), n = mantissa;
  if (strcspn(text, digits) >= mantissa) return false;
  if (text[n] == 'e' || text[n] == 'E') {
    n += 1 + (text[n + 1] == '-' || text[n + 1] == '+');
    size_t exponent = strspn(text + n, digits);
    if (exponent == 0) return false;
    n += exponent;
  }
  if (n >= sizeof form->text || text[n + strspn(text + n, " \t\r\n")] != '\0') return false;
  memcpy(form->text, text, n);
  for (const char *at = form->text; *at != '\0'; at++) {
    if (*at == ',') form->commas++, form->last_comma = at;
    if (*at == '.') form->points++, form->last_point = at;
  }
  return true;
}

// Of the n characters: one to three digits without a leading zero, then three behind each separator.
static bool grouped(const char *text, size_t n, char separator) {
  size_t first = strspn(text, digits);
  if (first == 0 || first > 3 || text[0] == '0' || first >= n) return false;
  for (size_t at = first; at < n; at += 4)
    if (at + 4 > n || text[at] != separator || strspn(text + at + 1, digits) < 3) return false;
  return true;
}

static bool convert(const struct form *form, char decimal, unsigned unit_us, uint64_t *us) {
  char plain[LIMIT_NUMBER_BYTES], *to = plain, *end;
  for (const char *from = form->text; *from != '\0'; from++) {
    if (*from == decimal)
      *to++ = '.';
    else if (*from != ',' && *from != '.')
      *to++ = *from;
  }
  *to = '\0';
  double value = strtod(plain, &end) * unit_us;
  if (end == plain || *end != '\0' || !(value >= 0 && value <= (double)LIMIT_TEST_US)) return false;
  *us = (uint64_t)llround(value);
  return true;
}
