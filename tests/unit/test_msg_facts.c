// Unit tests of the rules of Facts: names, values, counts; in each message that carries them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "proto/msg_check.h"
#include "proto/msg_facts.h"

static ProtobufCBinaryData names[MSG_FACTS_MAX + 1], values[MSG_FACTS_MAX + 1];

static Shardd__Facts facts(size_t n) {
  Shardd__Facts made = SHARDD__FACTS__INIT;
  for (size_t i = 0; i <= MSG_FACTS_MAX; i++) {
    names[i] = msg_text("python");
    values[i] = msg_text("3.11.2");
  }
  made.n_name = made.n_value = n;
  made.name = names;
  made.value = values;
  return made;
}

static void test_bounds(void **state) {
  static char many[MSG_FACT_MAX_BYTES + 1];
  (void)state;
  memset(many, 'x', sizeof many);
  Shardd__Facts some = facts(MSG_FACTS_MAX);
  assert_null(msg_facts_check(NULL));
  assert_null(msg_facts_check(&some));
  values[1] = msg_bytes(many, MSG_FACT_MAX_BYTES);
  names[1] = msg_bytes(many, MSG_FACT_NAME_MAX_BYTES);
  assert_null(msg_facts_check(&some));
  values[1] = msg_bytes(many, MSG_FACT_MAX_BYTES + 1);
  assert_non_null(msg_facts_check(&some));
  some = facts(2);
  names[1] = msg_bytes(many, MSG_FACT_NAME_MAX_BYTES + 1);
  assert_non_null(msg_facts_check(&some));
  some = facts(MSG_FACTS_MAX + 1);
  assert_non_null(msg_facts_check(&some));
  some = facts(2);
  some.n_value = 1;
  assert_non_null(msg_facts_check(&some));
}

static void test_bytes(void **state) {
  static const char *const bad_names[] = {"", "a=b", "a b", "a\nb", "\xc3\xa4", "a\x0e"};
  static const char *const bad_values[] = {"a\nb", "a\tb", "\x7f", "\x1b[31m", "\r", "\x10"};
  static const char *const good_values[] = {"", "a=b, c", "\xc3\xa4", "\xff", "j-\x0e-1\x0f.xml", "\x0f\x0f"};
  (void)state;
  for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
    Shardd__Facts one = facts(1);
    names[0] = msg_text(bad_names[i]);
    if (!msg_facts_check(&one)) fail_msg("name %zu is taken", i);
  }
  for (size_t i = 0; i < sizeof bad_values / sizeof bad_values[0]; i++) {
    Shardd__Facts one = facts(1);
    values[0] = msg_text(bad_values[i]);
    if (!msg_facts_check(&one)) fail_msg("value %zu is taken", i);
    values[0] = msg_text(good_values[i]);
    if (msg_facts_check(&one)) fail_msg("value %zu is refused", i);
  }
  Shardd__Facts one = facts(1);
  values[0] = msg_bytes("a\0b", 3);
  assert_non_null(msg_facts_check(&one));
}

static void test_every_message_that_has_them(void **state) {
  static uint8_t digest[MSG_DIGEST_BYTES];
  Shardd__Facts bad = facts(1);
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  Shardd__ListOffer offer = SHARDD__LIST_OFFER__INIT;
  Shardd__ListRequest request = SHARDD__LIST_REQUEST__INIT;
  (void)state;
  names[0] = msg_text("a b");
  hello.role = SHARDD__ROLE__ROLE_WORKER;
  hello.mixed = MSG_MIXED_ALL;
  offer.sha256 = msg_bytes(digest, sizeof digest);
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = &hello;
  assert_null(msg_check(&frame));
  hello.facts = &bad;
  assert_non_null(strstr(msg_check(&frame), "Facts.name"));
  hello.facts = NULL;
  hello.mixed = MSG_MIXED_ALL + 1;
  assert_non_null(strstr(msg_check(&frame), "mixed"));
  frame.body_case = SHARDD__FRAME__BODY_LIST_OFFER;
  frame.list_offer = &offer;
  assert_null(msg_check(&frame));
  offer.facts = &bad;
  assert_non_null(strstr(msg_check(&frame), "Facts.name"));
  frame.body_case = SHARDD__FRAME__BODY_LIST_REQUEST;
  frame.list_request = &request;
  assert_null(msg_check(&frame));
  request.facts = &bad;
  assert_non_null(strstr(msg_check(&frame), "Facts.name"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds), cmocka_unit_test(test_bytes),
                                     cmocka_unit_test(test_every_message_that_has_them)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
