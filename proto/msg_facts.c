// The rules of Facts, which stand inside of other messages. Called by msg_check.c.
#include "proto/msg_facts.h"

static bool fact_name_valid(const ProtobufCBinaryData *name) {
  for (size_t i = 0; i < name->len; i++) {
    uint8_t c = name->data[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '_' && c != '.' && c != '-') return false;
  }
  return name->len > 0 && name->len <= MSG_FACT_NAME_MAX_BYTES;
}

static bool fact_value_valid(const ProtobufCBinaryData *value) {
  for (size_t i = 0; i < value->len; i++) {
    uint8_t c = value->data[i];
    bool mark = c == MSG_FACT_OWN_BEGINS || c == MSG_FACT_OWN_ENDS;
    if ((c < ' ' && !mark) || c == 0x7f) return false;
  }
  return value->len <= MSG_FACT_MAX_BYTES;
}

const char *msg_facts_check(const Shardd__Facts *facts) {
  if (!facts) return NULL;
  if (facts->n_name > MSG_FACTS_MAX) return "Facts.name: has too many items";
  if (facts->n_value != facts->n_name) return "Facts.value: has another number of items than name";
  for (size_t i = 0; i < facts->n_name; i++) {
    if (!fact_name_valid(&facts->name[i])) return "Facts.name: an item is no name of a fact";
    if (!fact_value_valid(&facts->value[i])) return "Facts.value: an item is too long, or holds a control character";
  }
  return NULL;
}
