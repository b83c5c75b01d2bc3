// The settings of `shardd`: one struct, filled from one table of keys (flag, SHARDD_* variable and shardd.yml key
// each). Loaded by main.c, read by net, session and store, read again on SIGHUP. To add one, add a member here, a row
// in settings_table.c and the same key in config/shardd.yml. Knows nothing of what the daemon does with them.
#ifndef SERVER_SETTINGS_H
#define SERVER_SETTINGS_H

#include <sys/types.h>
#include <sys/un.h>

#include "config/conf.h"

#define SETTINGS_FILE "/etc/shardd/shardd.yml"

enum {
  SETTINGS_KEY_COUNT = 19,
  SETTINGS_LISTEN_MAX = 8,
  SETTINGS_PORT = 4270,  // of tcp://host without a port
  SETTINGS_HOST_BYTES = 256,
};

// Strings are never NULL; "" is unset. Times in microseconds.
struct settings {
  char *config;  // as given; see `file`
  bool check_config;
  struct conf_list listen;  // each accepted by settings_address
  char *socket_mode;        // octal; settings_socket_mode reads it
  char *database;
  char *token_file;  // "": everybody on a listener may come in
  uint64_t lease_ttl_us, heartbeat_us;
  uint64_t idle_timeout_us;   // a build without workers becomes incomplete
  uint64_t hello_timeout_us;  // a connection without a Hello is closed
  uint64_t max_connections, max_builds;
  uint64_t list_memory_bytes;  // of lists until they are on disk, and of plans
  uint64_t ballast_bytes;
  uint64_t keep_results_us;         // 0: for ever
  int quarantine;                   // enum store_quarantine
  struct conf_list protected_refs;  // patterns of the trunk's branches, whose builds alone teach; none: all teach
  int log_level;                    // settings_log_level reads it
  bool exit_with_parent;

  enum conf_source sources[SETTINGS_KEY_COUNT];  // by place in settings_table
  char *file;                                    // the file that was read; "": none
  char needs_restart[512];                       // after settings_reload: keys whose new value waits for a restart
  int argc;
  char **argv;
};

// Where to listen, taken apart.
struct settings_address {
  bool local;     // a Unix socket at `path`; else TCP
  bool loopback;  // TCP: reachable from this machine alone
  char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
  char host[SETTINGS_HOST_BYTES];  // without brackets; a name, an IPv4 or an IPv6 address
  uint16_t port;                   // 0: any free one
};

extern const struct conf_table settings_table;  // settings_table.c

// Merges default, file (--config, else SHARDD_CONFIG, else SETTINGS_FILE when there is one), SHARDD_* and flags, and
// checks them. argv must live as long as the settings. 0, and the caller releases them; 1 when --help, --version or
// --check-config was answered on stdout: end with EXIT_OK; -1 and *error, to be printed: end with EXIT_USAGE. After 1
// and -1 there is nothing to release.
int settings_load(int argc, char **argv, struct settings *settings, struct conf_error *error) MUST_CHECK;

// Reads the sources of `old` again into *fresh. Keys without `reload` keep the value of `old`; those that changed are
// named in fresh->needs_restart, separated by ", ". 0, and the caller releases both; -1 and *error, with *fresh
// untouched and `old` still good.
int settings_reload(const struct settings *old, struct settings *fresh, struct conf_error *error) MUST_CHECK;

// What one value alone cannot tell: addresses, the rule that a TCP listener beyond loopback needs a token file, the
// heartbeat's place inside the lease's life. settings_load and settings_reload call it. 0; -1 and *error.
int settings_check(const struct settings *settings, struct conf_error *error) MUST_CHECK;

// Takes "unix:/path" or "tcp://host[:port]" (IPv6 in brackets) apart. 0; -1 and *error, with *out untouched.
int settings_address(const char *text, struct settings_address *out, struct conf_error *error) MUST_CHECK;

// Whether builds of this branch may teach: when it matches a pattern of protected-refs (fnmatch, * also over slashes),
// or there is none. An unknown branch ("") matches none.
bool settings_protects(const struct settings *settings, const char *branch);
// Whether this branch is of the trunk, where a failure is nobody's experiment: only there it counts towards broken, or
// as a lone failure between passes. It matches a pattern of protected-refs; when there is none: "", main, master and
// trunk, which some CIs write refs/heads/main or origin/main.
bool settings_trunk(const struct settings *settings, const char *branch);

mode_t settings_socket_mode(const struct settings *settings);
enum log_level settings_log_level(const struct settings *settings);

void settings_release(struct settings *settings);

#endif
