// shardd: the coordinator. Reads its settings and runs the loop; everything else is below server.c. The right end of
// the include chain main → server → dispatch → … starts here.
#include <malloc.h>
#include <stdio.h>

#include "config/memory.h"
#include "server/server.h"

// What a list takes while it is uploaded and stored is given back to the system at once: a fixed threshold keeps the
// large arrays, and only those, out of the heap. Without it glibc raises the threshold when the first of them is freed,
// and the following ones leave holes that stay resident.
enum { MAIN_MMAP_BYTES = 1 << 20 };

int main(int argc, char **argv) {
  static struct server server;
  struct conf_error error;
  memory_never_fails();
  base_log_init("shardd", LOG_LEVEL_INFO);
  (void)mallopt(M_MMAP_THRESHOLD, MAIN_MMAP_BYTES);
  int loaded = settings_load(argc, argv, &server.settings, &error);
  if (loaded == 1) return EXIT_OK;
  if (loaded < 0) {
    fprintf(stderr, "shardd: %s\n", error.text);
    return EXIT_USAGE;
  }
  base_log_init("shardd", settings_log_level(&server.settings));
  int code = server_run(&server);
  settings_release(&server.settings);
  return code;
}
