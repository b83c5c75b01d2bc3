# shardd: everything is built, tested and installed from here. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# Make's own default is cc, whatever that is.
ifeq ($(origin CC),default)
  CC := gcc
endif
PREFIX ?= /usr/local
DESTDIR ?=
SAN ?=
BUILD ?= build$(if $(SAN),/$(subst $(comma),-,$(SAN)))
comma := ,
space := $(subst ,, )
VERSION := 0.1.0

CORE_PACKAGES := libevent_core libcrypto
SERVER_PACKAGES := $(CORE_PACKAGES) libprotobuf-c sqlite3 yaml-0.1 libsystemd
CLIENT_PACKAGES := $(CORE_PACKAGES) libprotobuf-c yaml-0.1 expat jansson

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 -Wvla \
  -Wimplicit-fallthrough -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wswitch-enum $(if $(WERROR),-Werror)
OPT ?= -O2
# What "undefined" leaves out, and what must not be left out of it: numbers from outside that no integer holds.
SANMORE := $(if $(findstring undefined,$(SAN)),-fsanitize=float-cast-overflow$(comma)integer-divide-by-zero)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) $(SANMORE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE)
CFLAGS ?= -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -DSHARD_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen $(WARN) $(OPT) $(HARDEN) $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS := $(SANFLAGS) $(if $(SAN),,-pie -Wl,-z,relro,-z,now) $(LDFLAGS)

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

# What was compiled without -Werror is compiled again with it; an object without it ends what the stamp says of all.
STRICT := $(BUILD)/strict-$(notdir $(CC))
NOT_STRICT = $(filter-out $(if $(WERROR),$(STRICT)),$(wildcard $(BUILD)/strict-*))
$(if $(WERROR),$(if $(wildcard $(STRICT)),,$(shell mkdir -p $(BUILD) && touch $(STRICT))))

$(BUILD)/obj/gen/shardd.pb-c.o: $(BUILD)/gen/shardd.pb-c.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -I$(BUILD)/gen $(OPT) $(HARDEN) $(SANFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/%.o: %.c $(GEN) $(if $(WERROR),$(STRICT))
	@mkdir -p $(@D)$(if $(NOT_STRICT),; rm -f $(NOT_STRICT))
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
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) $(LIBS) $$(pkg-config --libs $(SERVER_PACKAGES) expat jansson cmocka) \
	  -lpthread -lm
$(BUILD)/unit/test_forecast_suites: $(BUILD)/obj/tests/bench/suites.o

# What they call fails when it is told to.
$(BUILD)/unit/test_store_faults: ALL_LDFLAGS += $(foreach f,sqlite3_step sqlite3_exec sqlite3_prepare_v3 \
  sqlite3_backup_init sqlite3_backup_step sqlite3_wal_checkpoint_v2 sqlite3_system_errno EVP_DigestInit_ex EVP_DigestUpdate \
  EVP_DigestFinal_ex,-Wl,--wrap=$(f))
$(BUILD)/unit/test_server: ALL_LDFLAGS += -Wl,--wrap=base_now_us
$(BUILD)/unit/test_xmltext: ALL_LDFLAGS += -Wl,--wrap=XML_Parse
$(BUILD)/unit/test_client_faults: ALL_LDFLAGS += $(foreach f,socket connect poll getsockopt send read getrandom \
  realloc,-Wl,--wrap=$(f))

# Run one: make unit-NAME
unit-%: $(BUILD)/unit/test_%
	$<

# ---- benchmarks in C: one program per tests/bench/NAME.c, those without a main apart
BENCH_SRC := $(wildcard tests/bench/*.c)
BENCH_PARTS := $(filter $(foreach p,suites virtual peers bench swarm_list swarm_worker rival_kinds narrowed,tests/bench/$(p).c), \
  $(BENCH_SRC))
BENCH_BIN := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(filter-out $(BENCH_PARTS),$(BENCH_SRC)))
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(call obj,$(BENCH_PARTS)) $(LIBS)
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $< $(call obj,$(BENCH_PARTS)) $(LIBS) $(LIBS) \
	  $$(pkg-config --libs $(SERVER_PACKAGES) expat jansson) -lpthread -lm

# ---- power cuts: the real store on a disk that forgets what was not synced, under a clock of the test's own
CHAOS_CLOCK := -Wl,--wrap=base_now_us -Wl,--wrap=base_wall_us -Wl,--wrap=pthread_cond_timedwait
POWERCUT_OBJ := $(call obj,$(wildcard tests/chaos/powercut.c tests/chaos/cut*.c) tests/chaos/clock.c)
$(BUILD)/chaos/powercut: $(POWERCUT_OBJ) $(BUILD)/libserver.a $(BUILD)/libconfig.a
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) $(CHAOS_CLOCK) -o $@ $^ $$(pkg-config --libs $(SERVER_PACKAGES)) -lpthread -lm

$(BUILD)/chaos/storetool: $(BUILD)/obj/tests/chaos/storetool.o $(BUILD)/libserver.a $(BUILD)/libconfig.a
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $^ $$(pkg-config --libs $(SERVER_PACKAGES)) -lpthread -lm

# Preloaded into the real programs; without sanitizers, which the program it goes into may have.
$(BUILD)/chaos/shim.so: tests/chaos/shim.c
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -fPIC -shared -o $@ $< -ldl

chaos-programs: $(BUILD)/sim/sim $(BUILD)/chaos/powercut $(BUILD)/chaos/storetool $(BUILD)/chaos/shim.so

# CUTS=1000000 on demand; SEED repeats a run.
CUTS ?= 20000
SEED := $(or $(SEED),$(shell date +%s))
powercut: $(BUILD)/chaos/powercut
	$< --cuts $(CUTS) --seed $(SEED) --jobs $(JOBS)
	$< --cuts 1000 --seed $(SEED) --jobs $(JOBS) --control NORMAL

# ---- simulation: the real core, and a simulated world around it. STEPS=1000000000 on demand; SEED repeats a run.
$(BUILD)/sim/sim: $(call obj,$(wildcard tests/sim/*.c)) $(BUILD)/libserver.a $(BUILD)/libconfig.a
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $^ -lpthread -lm

STEPS ?= 100000000
sim: $(BUILD)/sim/sim
	@$< tests/sim/tapes/*
	$< --steps $(STEPS) --seed $(SEED) --jobs $(JOBS) --out $(BUILD)/sim

# Planted bugs, each of which a test must find; MUTANTS=name for some, MUTANTS=--quick for those of `make check`.
MUTANTS ?=
mutants: all $(BUILD)/sim/sim chaos-programs unit-programs
	@tests/deps.sh test
	@tests/sim/mutants.py $(BUILD) $(MUTANTS) -- $(CC) $(ALL_CFLAGS)

# SIGKILL of the daemon and workers, ROUNDS times, and of a store at every system call (EVERY=1: each).
ROUNDS ?= 300
EVERY ?= 1
kill: all $(BUILD)/chaos/storetool $(BUILD)/chaos/shim.so
	@tests/deps.sh test
	tests/chaos/kill.py --rounds $(ROUNDS) --seed $(SEED) $(BUILD)
	tests/chaos/syscalls.py --every $(EVERY) $(BUILD)

# Wrong verdicts: histories of a CI with known truth, on the real programs. HISTORIES=10000 on demand; SEED repeats a
# run, ONLY=theme or a case narrows it.
ONLY ?=
hunt: HISTORIES := $(if $(filter command line environment,$(origin HISTORIES)),$(HISTORIES),1000)
hunt: all
	@tests/deps.sh test
	tests/hunt/hunt.py --build $(BUILD) --histories $(HISTORIES) --seed $(SEED) --jobs $(JOBS) --progress $(if $(ONLY),--only $(ONLY))

# networkx on ten workers that die, three times.
kill-real: all
	@tests/deps.sh test
	tests/chaos/kill_real.py --seed $(SEED) $(BUILD)

# Connections, calls, clocks and networks that fail; SPAN seconds of spoilt connections.
SPAN ?= 60
chaos: all chaos-programs
	@tests/deps.sh test
	tests/chaos/chaos.py --seconds $(SPAN) --seed $(SEED) $(BUILD)
	SHARD_BUILD_DIR=$(BUILD) /usr/bin/python3 -m pytest -q -p no:cacheprovider -rs $(addprefix tests/chaos/,test_chaos.py \
	  test_scarce.py test_readonly.py test_time.py test_resume.py test_restart.py)

# A daemon that runs for long, LASTING seconds; what stays of it must stay the same.
LASTING ?= 900
soak: all
	@tests/deps.sh test
	tests/chaos/soak.py --seconds $(LASTING) $(BUILD)

# The unit tests without sanitizers under valgrind; those that only start other programs, or count seconds, apart.
VALGRIND_NOT := test_net_local test_proc test_runner test_runner_command test_command_evidence test_store_crash test_net test_settings test_base
VALGRIND_UNIT := $(filter-out $(VALGRIND_NOT),$(notdir $(basename $(UNIT_SRC))))
valgrind:
	@tests/deps.sh build test torture
	@$(MAKE) --no-print-directory -j$(JOBS) OPT=-O1 BUILD=build/valgrind unit-programs
	@set -e; for name in $(VALGRIND_UNIT); do echo "  $$name"; \
	  valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --trace-children=no \
	  build/valgrind/unit/$$name >build/valgrind/log 2>&1 || { cat build/valgrind/log; exit 1; }; done
	@echo "valgrind: $(words $(VALGRIND_UNIT)) programs, no error"

# Branches of core, protocol and store that the unit tests, the chaos tests and some of the end-to-end tests take.
COVERAGE_TESTS := $(subst $(space),$(comma),$(foreach t,e2e/test_build e2e/test_kill e2e/test_admin e2e/test_ci_env \
  e2e/test_shortage e2e/test_errors e2e/test_history e2e/test_quarantine e2e/test_upkeep e2e/test_import e2e/test_fallback \
  e2e/test_kept e2e/test_sick e2e/test_attacks e2e/test_marks chaos/test_powercut chaos/test_chaos chaos/test_scarce \
  fuzz/test_fuzz,tests/$(t).py))
coverage:
	@tests/deps.sh build test
	@rm -rf build/coverage
	@$(MAKE) --no-print-directory -j$(JOBS) CC=gcc OPT=-O0 HARDEN= CFLAGS="-g --coverage" LDFLAGS=--coverage \
	  BUILD=build/coverage all unit-programs chaos-programs fuzz-programs
	@SHARD_FAULTS=600 tests/check.py --unit build/coverage --e2e build/coverage $(COVERAGE_TESTS)
	@tests/coverage.py build/coverage

# The long runs of all of these; hours.
torture:
	$(MAKE) sim STEPS=1000000000
	$(MAKE) mutants
	$(MAKE) powercut CUTS=1000000
	$(MAKE) kill ROUNDS=10000
	$(MAKE) kill-real
	$(MAKE) hunt HISTORIES=10000
	SHARD_EVERY=7 $(MAKE) chaos SPAN=3600
	$(MAKE) fuzz SECONDS=3600
	$(MAKE) soak
	$(MAKE) tsan
	$(MAKE) valgrind

# ---- fuzzing: one target per tests/fuzz/fuzz_NAME.c. `make fuzz-NAME SECONDS=10` searches with libFuzzer; what it
# keeps goes to build/fuzz/corpus, a finding to build/fuzz. The plain programs feed the corpus in `make check`.
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz_%)
FUZZ_LIBS = $(LIBS) $(LIBS) $$(pkg-config --libs $(SERVER_PACKAGES) expat jansson) -lpthread -lm
$(BUILD)/fuzz/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(LIBS)
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $< $(BUILD)/obj/tests/fuzz/replay.o $(FUZZ_LIBS)

$(BUILD)/fuzz/search_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(LIBS)
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< $(FUZZ_LIBS)

fuzz-programs: $(FUZZ_BIN)

SECONDS ?= 60
FUZZ_DIR := build/fuzz
fuzz-%:
	@tests/deps.sh build test fuzz
	@$(MAKE) --no-print-directory -j$(JOBS) CC=clang SAN=address,undefined CFLAGS="-g -fsanitize=fuzzer-no-link" OPT=-O1 \
	  BUILD=$(FUZZ_DIR) $(FUZZ_DIR)/fuzz/search_$*
	@tests/fuzz/seeds.py $(FUZZ_DIR)/seeds && mkdir -p $(FUZZ_DIR)/corpus/$* $(FUZZ_DIR)/seeds/$*
	$(FUZZ_DIR)/fuzz/search_$* -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
	  -artifact_prefix=$(FUZZ_DIR)/$*- $(if $(wildcard tests/fuzz/dict/$*.dict),-dict=tests/fuzz/dict/$*.dict) \
	  $(FUZZ_DIR)/corpus/$* $(wildcard tests/fuzz/corpus/$*) $(FUZZ_DIR)/seeds/$*

fuzz:
	@set -e; for name in $(FUZZ_NAMES); do $(MAKE) --no-print-directory fuzz-$$name; done

# ---- packages: what is missing is installed, or the line that does it printed (tests/deps.sh)
DEPS ?= build
deps:
	@tests/deps.sh $(DEPS)

# ---- README's two commands
demo:
	@tests/deps.sh build demo
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@tests/demo.sh $(BUILD)

# The build without sanitizers is the one that warns: with them, and with the -O1 that suits them, gcc warns of nothing.
# With the sanitizers every unit test, and of the end-to-end tests those that take the daemon and the workers through
# their whole lives; with that for threads the tests of the store and of the asker, which have one each.
JOBS ?= 2
ASAN := build/address-undefined
TSAN := build/thread
TSAN_UNIT := test_asker test_store test_store_crash test_store_learn test_store_mute test_store_query
ASAN_E2E := tests/e2e/test_build.py,tests/e2e/test_empty.py,tests/e2e/test_kill.py,tests/e2e/test_local.py
ASAN_CHAOS := tests/chaos/test_powercut.py,tests/sim/test_sim.py::test_all_invariants_hold,tests/fuzz
check:
	@tests/deps.sh build test
	@$(MAKE) --no-print-directory -j$(JOBS) WERROR=1 all unit-programs chaos-programs fuzz-programs bench-programs
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=address,undefined OPT=-O1 WARN=-w BUILD=$(ASAN) all \
	  unit-programs chaos-programs fuzz-programs
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=thread BUILD=$(TSAN) $(TSAN_UNIT:%=$(TSAN)/unit/%)
	@tests/check.py --unit $(BUILD) --e2e $(BUILD) tests/test_checks.py,tests/e2e,tests/sim,tests/chaos,tests/fuzz,tests/hunt --unit $(ASAN) \
	  --e2e $(ASAN) $(ASAN_E2E),$(ASAN_CHAOS) --unit $(TSAN) $(subst $(space),$(comma),$(TSAN_UNIT))

# While one works: the unit tests, and whole builds of the real programs.
QUICK_E2E := tests/test_checks.py,tests/e2e/test_empty.py,tests/e2e/test_build.py
quick:
	@tests/deps.sh build test
	@$(MAKE) --no-print-directory -j$(JOBS) all unit-programs
	@tests/check.py --unit $(BUILD) --e2e $(BUILD) $(QUICK_E2E)

unit-programs: $(UNIT_BIN)

unit: unit-programs
	@tests/check.py --unit $(BUILD)

e2e: all chaos-programs fuzz-programs bench-programs
	@tests/check.py --e2e $(BUILD) tests/test_checks.py,tests/e2e,tests/sim,tests/chaos,tests/fuzz,tests/hunt

# All unit tests under ThreadSanitizer, and the daemon with it in a few end-to-end tests.
tsan:
	@tests/deps.sh build test
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=thread BUILD=$(TSAN) all unit-programs
	@tests/check.py --unit $(TSAN) --e2e $(TSAN) tests/e2e/test_build.py,tests/e2e/test_yield.py,tests/e2e/test_plan_wire.py

# ---- lint: each part is a target of its own; all of them run even when one fails
LINT_C := $(wildcard $(foreach d,server worker proto config tests/unit tests/bench tests/sim tests/chaos tests/fuzz,$(d)/*.c))
LINT_H := $(wildcard $(foreach d,server worker proto config tests/unit tests/bench tests/sim tests/chaos tests/fuzz,$(d)/*.h))
LINT_SH := $(wildcard .ci/run tests/*.sh tests/hunt/suite/*.sh docs/ci/*.sh)
LINT_PARTS := gcc clang format tidy cppcheck shell python man rules
lint:
	@tests/deps.sh build test lint
	@$(MAKE) --no-print-directory -j$(JOBS) -k --output-sync=target $(LINT_PARTS:%=lint-%)
	@echo "lint: clean"

objects: $(call obj,$(LINT_C)) $(BUILD)/obj/gen/shardd.pb-c.o

# gcc's are those of the build, which `make check` leaves as well; clang warns before it makes an object.
lint-gcc: $(GEN)
	@$(MAKE) --no-print-directory CC=gcc WERROR=1 BUILD=$(if $(SAN),build/lint-gcc,$(BUILD)) objects

lint-clang:
	@$(MAKE) --no-print-directory CC=clang WERROR=1 OPT="$(OPT) -fsyntax-only" BUILD=build/lint-clang objects

lint-format:
	clang-format --dry-run -Werror $(LINT_C) $(LINT_H)

lint-tidy: compile_commands.json
	@echo "clang-tidy: $(words $(LINT_C)) files"
	@printf '%s\n' $(LINT_C) | xargs -P $(JOBS) -n 8 clang-tidy --quiet -p . 2> >(grep -vE '^[0-9]+ warnings? generated' >&2)

lint-cppcheck: $(GEN)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr -j $(JOBS) \
	  --suppressions-list=tests/cppcheck.txt -D_GNU_SOURCE -DSHARD_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen \
	  --library=posix server worker proto config tests/unit tests/bench tests/sim tests/chaos tests/fuzz

lint-shell:
	shellcheck $(LINT_SH)

lint-python:
	/usr/bin/python3 -m flake8 --max-line-length 120 tests worker/adapters

lint-man:
	mandoc -T lint -W warning $(wildcard docs/man/*.[158])

lint-rules:
	tests/check_includes.py
	tests/check_style.py

# How each file is compiled, for clang-tidy and editors; clang's flags, whatever CC is.
compile_commands.json: Makefile $(LINT_C) | $(GEN)
	@tests/compile_commands.py clang $(filter-out -Werror,$(ALL_CFLAGS)) -- $(LINT_C) >$@

format:
	clang-format -i $(LINT_C) $(LINT_H)

# ---- benchmarks: each prints its figures, the target and the verdict, and leaves them as JSON in build/. All of them
# run whatever the others say, then the table tells: 1 when a target was missed, 3 when a row has no figure.
BENCHES := overhead makespan-virtual makespan-real load memory start query growth collect
bench:
	@tests/deps.sh build bench
	@$(MAKE) --no-print-directory -j$(JOBS) all bench-programs
	@rm -f $(BENCHES:%=$(BUILD)/bench-%.json)
	@for name in $(BENCHES); do echo; echo "== bench-$$name"; $(MAKE) --no-print-directory bench-$$name || true; done
	@echo; tests/bench/table.py $(BUILD)

bench-programs: $(BENCH_BIN)

bench-overhead bench-makespan-real bench-load bench-memory bench-growth: bench-%: all bench-programs
	@tests/bench/$(subst -,_,$*).py $(BUILD) $(BUILD)/bench-$*.json

bench-start bench-query: bench-%: all bench-programs
	@tests/bench/past.py $* $(BUILD) $(BUILD)/bench-$*.json

bench-collect: all
	@tests/bench/collect.py $(BUILD) $(BUILD)/bench-collect.json

HISTORIES ?= ../shared/durations
bench-makespan-virtual: $(BUILD)/bench/makespan
	@$(BUILD)/bench/makespan $(HISTORIES) $(BUILD)/bench-makespan-virtual.json

# What the tables say of 10 million results with planted tests; several minutes, not part of `make bench`. With fewer
# builds fewer tests that fail seldom are due to be named; 40 of 1000 tests are the least.
BUILDS ?= 200
TESTS ?= 50000
bench-history: $(BUILD)/bench/planted
	@place=$$(mktemp -d -p $(BUILD)) && trap 'rm -rf "$$place"' EXIT && \
	  $(BUILD)/bench/planted "$$place" $(BUILD)/bench-history.json $(BUILDS) $(TESTS)

# A real suite for 30 builds through the real daemon, with quarantine: auto.
thirty-builds: all
	@tests/deps.sh test
	SHARD_BUILD_DIR=$(BUILD) tests/bench/thirty_builds.py

# The flaky model against tests whose nature is known, in virtual time.
SEED ?= 1
monte-carlo: $(BUILD)/bench/montecarlo
	@$(BUILD)/bench/montecarlo $(SEED)

# ---- installing: `make install PREFIX=/usr DESTDIR=pkg` for packages
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
UNITDIR = $(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
DOCDIR = $(PREFIX)/share/doc/shardd
UNITS := systemd/shardd.service systemd/shardd.socket
SAMPLES := config/shardd.yml config/shard.yml

install: all
	install -d $(foreach d,$(BINDIR) $(UNITDIR) $(SYSUSERSDIR) $(DOCDIR)/examples,'$(DESTDIR)$(d)')
	install -m 755 $(BUILD)/shardd $(BUILD)/shard '$(DESTDIR)$(BINDIR)/'
	set -e; for page in $(wildcard docs/man/*.[158]); do \
	  install -D -m 644 $$page "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; done
	set -e; for unit in $(UNITS); do sed 's,/usr/local/bin,$(BINDIR),' $$unit >'$(DESTDIR)$(UNITDIR)/'$${unit##*/}; \
	  chmod 644 '$(DESTDIR)$(UNITDIR)/'$${unit##*/}; done
	install -m 644 systemd/shardd.sysusers '$(DESTDIR)$(SYSUSERSDIR)/shardd.conf'
	install -m 644 $(SAMPLES) '$(DESTDIR)$(DOCDIR)/examples/'
	install -m 644 LICENSE README.md CHANGELOG.md $(wildcard docs/*.md) '$(DESTDIR)$(DOCDIR)/'

# Takes away what install put there; settings and the database stay.
uninstall:
	rm -f '$(DESTDIR)$(BINDIR)/shardd' '$(DESTDIR)$(BINDIR)/shard' '$(DESTDIR)$(SYSUSERSDIR)/shardd.conf'
	rm -f $(foreach u,$(notdir $(UNITS)),'$(DESTDIR)$(UNITDIR)/$(u)')
	set -e; for page in $(wildcard docs/man/*.[158]); do rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; done
	rm -rf '$(DESTDIR)$(DOCDIR)'

clean:
	rm -rf build compile_commands.json

define HELP
make               builds build/shardd and build/shard
make demo          installs what is missing, builds, runs a public suite on four workers and compares with plain pytest
make check         builds, also with sanitizers, and runs all tests; the last line adds them up
make quick         unit tests and a few end-to-end tests without sanitizers, under a minute once it is built
make lint          warnings of gcc and clang, layout, static analysis, scripts, man pages, the rules of the house
make deps          installs missing Debian packages, or prints the line that does
make unit          unit tests; one of them: make unit-NAME
make e2e           end-to-end tests; one: /usr/bin/python3 -m pytest tests/e2e -k NAME
make fuzz          searches for inputs that break readers, SECONDS=60 each; one of them: make fuzz-NAME
make chaos         spoilt connections (SPAN=3600 seconds), failing calls, jumping clocks, a divided network
make kill          SIGKILL of daemon and workers (ROUNDS=10000), and of a store at every system call
make hunt          wrong verdicts: a CI's histories with known truth, on the real programs: HISTORIES=10000 SEED=7
make kill-real     networkx on ten workers that die, under a daemon that dies, three times
make sim           the queue and the scheduler in a simulated world: STEPS=1000000000 SEED=7
make mutants       planted bugs, each of which a test must find; some: MUTANTS=NAME
make powercut      the store on a disk that forgets: CUTS=1000000 SEED=7; a control must lose
make soak          thousands of builds on one daemon: memory, descriptors, database (LASTING=900 seconds)
make valgrind      unit tests under valgrind
make coverage      branches of core, protocol and store that the tests take
make torture       the long runs of sim, mutants, powercut, kill, chaos, fuzz, soak, tsan and valgrind: hours
make tsan          unit tests and a few end-to-end tests with ThreadSanitizer
make bench         benchmarks against their targets, some forty minutes; one of them: make bench-NAME with overhead,
                   makespan-virtual, makespan-real, load, memory, start, query, growth or collect; ROUNDS=1: shorter
make bench-history what the tables say of 10 million results, several minutes; from BUILDS=40 TESTS=1000 on: shorter
make thirty-builds a real suite with flaky tests for 30 builds through the real daemon, quarantine: auto
make monte-carlo   the flaky model against its table, in virtual time; SEED=N
make format        lays out all C sources
make install       below PREFIX (/usr/local), DESTDIR before it; make uninstall takes it away
make clean         removes build/
Variables: CC=clang, WERROR=1, SAN=address,undefined or SAN=thread, BUILD=folder, OPT=-O0, JOBS=2
endef
help:
	@: $(info $(HELP))

.PHONY: all deps demo check quick unit unit-programs e2e tsan lint $(LINT_PARTS:%=lint-%) objects format bench \
  bench-programs $(BENCHES:%=bench-%) bench-history thirty-builds monte-carlo install uninstall clean help \
  chaos-programs sim mutants powercut fuzz-programs fuzz hunt kill kill-real chaos soak valgrind coverage torture
.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
