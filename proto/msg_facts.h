// Facts of a worker, as they stand in Hello, ListOffer and ListRequest: whether they keep the rules.
#ifndef PROTO_MSG_FACTS_H
#define PROTO_MSG_FACTS_H

#include "proto/msg.h"

// NULL: they do, or there are none; else a constant text that says what rule was broken.
const char *msg_facts_check(const Shardd__Facts *facts);

#endif
