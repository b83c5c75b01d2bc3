// Messages: rules that a row of the table cannot say, of names within lists: tokens of a policy, marks of a chunk.
#include "proto/msg_check.h"
#include "tests/unit/msg_sample.h"

// Tokens of a policy: names, each with a count, not too many.
static void test_policy_tokens(void **state) {
  (void)state;
  static ProtobufCBinaryData names[MSG_TOKENS_MAX + 1];
  static uint32_t counts[MSG_TOKENS_MAX + 1];
  static char longest[MSG_NAME_MAX_BYTES + 1];
  memset(longest, 't', sizeof longest);
  for (size_t i = 0; i <= MSG_TOKENS_MAX; i++) {
    names[i] = msg_text("db");
    counts[i] = 1;
  }
  const struct {
    ProtobufCBinaryData name;
    uint32_t count;
    size_t names, counts;
    const char *why;  // NULL: it is right
  } cases[] = {
      {msg_text("db"), 2, 2, 2, NULL},
      {msg_bytes(longest, MSG_NAME_MAX_BYTES), 1, 1, 1, NULL},
      {msg_text("db"), 1, MSG_TOKENS_MAX, MSG_TOKENS_MAX, NULL},
      {msg_text("db"), 1, MSG_TOKENS_MAX + 1, MSG_TOKENS_MAX + 1, "too many"},
      {msg_text("db"), 1, 2, 1, "another number"},
      {msg_text("db"), 0, 2, 2, "is 0"},
      {msg_text(""), 1, 1, 1, "no name"},
      {msg_text("d=b"), 1, 1, 1, "no name"},
      {msg_text("d\nb"), 1, 1, 1, "no name"},
      {msg_bytes("d\0b", 3), 1, 1, 1, "no name"},
      {msg_bytes(longest, MSG_NAME_MAX_BYTES + 1), 1, 1, 1, "no name"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    make(SHARDD__FRAME__BODY_HELLO);
    names[0] = cases[i].name;
    counts[0] = cases[i].count;
    sample.policy.token = names;
    sample.policy.n_token = cases[i].names;
    sample.policy.token_count = counts;
    sample.policy.n_token_count = cases[i].counts;
    const char *why = msg_check(&sample.frame);
    if (cases[i].why ? !why || !strstr(why, cases[i].why) : why != NULL) fail_msg("case %zu: %s", i, why ? why : "-");
  }
  make(SHARDD__FRAME__BODY_HELLO);
  sample.policy.order = (Shardd__Order)3;
  assert_non_null(strstr(msg_check(&sample.frame), "Policy.order"));
}

static void test_marks(void **state) {
  (void)state;
  const struct {
    ProtobufCBinaryData mark;
    bool right;
  } cases[] = {{msg_text("gone"), true}, {msg_text("tdb"), true},   {msg_text(""), false},
               {msg_text("xdb"), false}, {msg_text("g\nb"), false}, {msg_text("t\n"), false}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    make(SHARDD__FRAME__BODY_LIST_CHUNK);
    ProtobufCBinaryData marks[] = {msg_text("gfirst"), cases[i].mark};
    sample.list_chunk.mark = marks;
    sample.list_chunk.n_mark = 2;
    const char *why = msg_check(&sample.frame);
    if (cases[i].right ? why != NULL : !why || !strstr(why, "ListChunk.mark")) fail_msg("case %zu", i);
  }
  make(SHARDD__FRAME__BODY_LIST_CHUNK);
  uint32_t place[] = {2};
  sample.list_chunk.mark_test = place;
  sample.list_chunk.mark_of = place;
  sample.list_chunk.n_mark_test = sample.list_chunk.n_mark_of = 1;
  assert_non_null(strstr(msg_check(&sample.frame), "ListChunk.mark_test"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_policy_tokens),
      cmocka_unit_test(test_marks),
  };
  return cmocka_run_group_tests_name("msg_names", tests, open_arena, close_arena);
}
