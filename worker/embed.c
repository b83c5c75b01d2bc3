// Carries worker/adapters/* inside the binary, so that a CI image needs nothing but the binary. The assembler reads the
// files; the Makefile rebuilds this when they change.
#include "worker/embed.h"

#define EMBED(name, path)             \
  __asm__(                            \
      ".pushsection .rodata\n"        \
      ".global " #name                \
      "\n"                            \
      ".global " #name "_end\n" #name \
      ":\n"                           \
      ".incbin \"" path "\"\n" #name  \
      "_end:\n"                       \
      ".byte 0\n"                     \
      ".popsection\n")

EMBED(embed_shard_pytest_py, "worker/adapters/shard_pytest.py");
EMBED(embed_shard_pytest_lib_py, "worker/adapters/shard_pytest_lib.py");
EMBED(embed_shard_pytest_lazy_py, "worker/adapters/shard_pytest_lazy.py");
EMBED(embed_shard_pytest_end_py, "worker/adapters/shard_pytest_end.py");
EMBED(embed_shard_pytest_options_py, "worker/adapters/shard_pytest_options.py");
