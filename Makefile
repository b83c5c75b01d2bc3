# shardd: everything is built, tested and installed from here. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

CC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=
SAN ?=
BUILD ?= build$(if $(SAN),/$(subst $(comma),-,$(SAN)))
comma := ,
VERSION := 0.1.0

CORE_PACKAGES := libevent_core libcrypto
SERVER_PACKAGES := $(CORE_PACKAGES) libprotobuf-c sqlite3 yaml-0.1 libsystemd
CLIENT_PACKAGES := $(CORE_PACKAGES) libprotobuf-c yaml-0.1 expat jansson

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 -Wvla \
  -Wimplicit-fallthrough -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wswitch-enum $(if $(WERROR),-Werror)
OPT ?= -O2
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE)
CFLAGS ?= -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -DSHARD_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen $(WARN) $(OPT) $(HARDEN) $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS := $(SANFLAGS) $(if $(SAN),,-pie -Wl,-z,relro,-z,now) $(LDFLAGS)

# The pure core: no clock, file, socket or random source (tests/check_includes.py).
CORE_SRC := server/queue.c server/sched.c server/estimate.c server/heap.c server/map.c
PROTO_SRC := $(wildcard proto/*.c)
CONFIG_SRC := $(wildcard config/*.c)
SERVER_SRC := $(filter-out server/main.c,$(wildcard server/*.c))
WORKER_SRC := $(filter-out worker/main.c,$(wildcard worker/*.c))
UNIT_SRC := $(wildcard tests/unit/test_*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
GEN := $(BUILD)/gen/shardd.pb-c.h
LIBS := $(foreach l,proto config server worker,$(BUILD)/lib$(l).a)

all: $(BUILD)/shardd $(BUILD)/shard

$(BUILD)/gen/shardd.pb-c.c $(BUILD)/gen/shardd.pb-c.h &: proto/shardd.proto
	@mkdir -p $(BUILD)/gen
	@protoc-c --proto_path=proto --c_out=$(BUILD)/gen proto/shardd.proto

$(BUILD)/obj/gen/shardd.pb-c.o: $(BUILD)/gen/shardd.pb-c.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -I$(BUILD)/gen $(OPT) $(HARDEN) $(SANFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/%.o: %.c $(GEN)
	@mkdir -p $(@D)
	@echo "  CC $<"; $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Files that carry others inside (.incbin) are rebuilt when those change.
$(BUILD)/obj/worker/embed.o: $(wildcard worker/adapters/*)
$(BUILD)/obj/server/schema.o: $(wildcard server/*.sql)

$(BUILD)/libproto.a: $(call obj,$(PROTO_SRC)) $(BUILD)/obj/gen/shardd.pb-c.o
$(BUILD)/libconfig.a: $(call obj,$(CONFIG_SRC))
$(BUILD)/libserver.a: $(call obj,$(SERVER_SRC))
$(BUILD)/libworker.a: $(call obj,$(WORKER_SRC))
$(LIBS):
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/shardd: $(BUILD)/obj/server/main.o $(BUILD)/libserver.a $(BUILD)/libproto.a $(BUILD)/libconfig.a
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $^ $$(pkg-config --libs $(SERVER_PACKAGES)) -lpthread -lm

$(BUILD)/shard: $(BUILD)/obj/worker/main.o $(BUILD)/libworker.a $(BUILD)/libproto.a $(BUILD)/libconfig.a
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $^ $$(pkg-config --libs $(CLIENT_PACKAGES)) -lm

# ---- unit tests: one program per tests/unit/test_NAME.c, linked with every library
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIBS)
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $< $(LIBS) $(LIBS) $$(pkg-config --libs $(SERVER_PACKAGES) expat jansson cmocka) -lpthread -lm

unit: $(UNIT_BIN)
	@set -e; for t in $(UNIT_BIN); do $$t; done

# Run one: make unit-NAME
unit-%: $(BUILD)/unit/test_%
	$<

clean:
	rm -rf build

.PHONY: all unit clean
.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
