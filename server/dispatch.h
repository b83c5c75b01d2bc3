// Which message goes where: one table from message to handler, and who may send it when. Called by the connections.
#ifndef SERVER_DISPATCH_H
#define SERVER_DISPATCH_H

#include "server/server.h"

// The handler of every connection; the server puts itself into a copy's arg.
extern const struct conn_handler dispatch_handler;

#endif
