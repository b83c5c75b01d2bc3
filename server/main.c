// shardd: the coordinator. Reads its settings and runs the loop; everything else is below server.c. The right end of
// the include chain main → server → dispatch → … starts here.
#include <stdio.h>

#include "config/memory.h"
#include "server/server.h"

int main(int argc, char **argv) {
  static struct server server;
  struct conf_error error;
  memory_never_fails();
  base_log_init("shardd", LOG_LEVEL_INFO);
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
