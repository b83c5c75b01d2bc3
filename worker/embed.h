// The files that the binary carries: adapters, which run inside the test process. Bytes, not NUL-terminated.
#ifndef WORKER_EMBED_H
#define WORKER_EMBED_H

#include <stddef.h>

extern const char embed_shard_pytest_py[];
extern const char embed_shard_pytest_py_end[];
extern const char embed_shard_pytest_lib_py[];
extern const char embed_shard_pytest_lib_py_end[];
extern const char embed_shard_pytest_lazy_py[];
extern const char embed_shard_pytest_lazy_py_end[];
extern const char embed_shard_pytest_end_py[];
extern const char embed_shard_pytest_end_py_end[];
extern const char embed_shard_pytest_options_py[];
extern const char embed_shard_pytest_options_py_end[];

#endif
