// Encodings of XML by name. Called by xmltext.c. Only names of this table reach iconv, which would load modules and
// take options by name otherwise.
#include "worker/xmltext_encoding.h"

#include <ctype.h>
#include <string.h>

// Names with a number behind them: "windows-1252", "iso-8859-15".
static const char *const families[][2] = {
    {"iso-8859-", "ISO-8859-"}, {"iso8859-", "ISO-8859-"}, {"iso_8859-", "ISO-8859-"},
    {"windows-125", "CP125"},   {"cp125", "CP125"},
};

static const char *const names[][2] = {
    {"latin1", "ISO-8859-1"}, {"latin-1", "ISO-8859-1"}, {"shift_jis", "SHIFT_JIS"}, {"windows-31j", "CP932"},
    {"sjis", "SHIFT_JIS"},    {"euc-jp", "EUC-JP"},      {"euc-kr", "EUC-KR"},       {"gb2312", "GBK"},
    {"gbk", "GBK"},           {"gb18030", "GB18030"},    {"big5", "BIG5"},           {"koi8-r", "KOI8-R"},
    {"koi8-u", "KOI8-U"},     {"cp437", "CP437"},        {"ibm437", "CP437"},        {"cp850", "CP850"},
    {"ibm850", "CP850"},      {"cp866", "CP866"},        {"macintosh", "MACINTOSH"}, {"windows-874", "CP874"},
};

static const char *const as_utf8[] = {"",       "utf-8",    "utf8",     "us-ascii", "ascii",
                                      "utf-16", "utf-16le", "utf-16be", "unicode",  "ucs-2"};

void xmltext_encoding_find(const char *head, size_t n, char name[XMLTEXT_ENCODING_BYTES]) {
  static const char key[] = "encoding";
  const char *at = n > 5 ? memmem(head + 5, n - 5, key, sizeof key - 1) : NULL, *end = head + n;
  size_t used = 0;
  name[0] = '\0';
  if (at == NULL) return;
  at += sizeof key - 1;
  while (at < end && (isspace((unsigned char)*at) || *at == '='))
    at++;
  if (at == end || (*at != '"' && *at != '\'')) return;
  char quote = *at++;
  for (; at < end && *at != quote && used + 1 < XMLTEXT_ENCODING_BYTES; at++)
    name[used++] = (char)tolower((unsigned char)*at);
  name[used] = '\0';
}

bool xmltext_encoding_iconv(const char *name, char out[XMLTEXT_ENCODING_BYTES]) {
  out[0] = '\0';
  for (size_t i = 0; i < COUNT_OF(as_utf8); i++)
    if (strcmp(name, as_utf8[i]) == 0) return true;
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    if (strcmp(name, names[i][0]) != 0) continue;
    memcpy(out, names[i][1], strlen(names[i][1]) + 1);
    return true;
  }
  for (size_t i = 0; i < COUNT_OF(families); i++) {
    size_t n = strlen(families[i][0]),
           digits = strncmp(name, families[i][0], n) == 0 ? strspn(name + n, "0123456789") : 0;
    if (digits == 0 || digits > 2 || name[n + digits] != '\0') continue;
    size_t prefix = strlen(families[i][1]);
    memcpy(out, families[i][1], prefix);
    memcpy(out + prefix, name + n, digits + 1);
    return true;
  }
  return false;
}
