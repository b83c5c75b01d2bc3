// The list of effects: filled by the core during a call, performed and cleared by its caller. It must not know how any
// of them is performed.
#include "server/effect.h"

#include <stdlib.h>

void effects_add(struct effects *effects, struct effect effect) {
  if (effects->count == effects->room) {
    effects->room = effects->room ? effects->room * 2 : 16;
    effects->item = base_realloc(effects->item, effects->room, sizeof *effects->item);
  }
  effects->item[effects->count++] = effect;
}

void effects_clear(struct effects *effects) {
  for (size_t i = 0; i < effects->count; i++) {
    free(effects->item[i].tests);
  }
  effects->count = 0;
}

void effects_release(struct effects *effects) {
  effects_clear(effects);
  free(effects->item);
  *effects = (struct effects){0};
}
