// Memory of the libraries that look at no failure of their own, or whose failures nobody could mend: it cannot fail, as
// that of base.h.
#ifndef CONFIG_MEMORY_H
#define CONFIG_MEMORY_H

// Makes libevent and libcrypto end the program with EXIT_INFRA when memory is out, and libevent when it gives up for
// another reason. First thing in a main, before either is used.
void memory_never_fails(void);

#endif
