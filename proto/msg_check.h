// The rules that every message must keep, whoever sent it: what msg_unpack applies after unpacking. Tests use it to
// check a message that they are about to send; nobody else needs it.
#ifndef PROTO_MSG_CHECK_H
#define PROTO_MSG_CHECK_H

#include "shardd.pb-c.h"

// NULL when the message keeps all rules; otherwise a constant text that names the message, the field and the rule.
const char *msg_check(const Shardd__Frame *frame);

#endif
