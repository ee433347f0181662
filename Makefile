# kvd - build, run, test. `make help` lists the goals and knobs.
#
# Outputs go to build/ (or build/san-<kind> and the like when a knob is set), nothing else is
# written. Sources are found by folder: a new kv/x.c is part of libkv, a new tests/unit/kv/test_x.c
# is a test program.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/bash

# ---- knobs -----------------------------------------------------------------------------------
DEBUG ?=
SAN ?=
COV ?=
V ?=
DATA_DIR ?= kvd.data
PREFIX ?= /usr/local
DESTDIR ?=

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

comma := ,
variant := $(if $(SAN),-san-$(subst $(comma),-,$(SAN)))$(if $(DEBUG),-debug)$(if $(COV),-cov)
# Another output folder: make B=build/mine
B ?= build/$(if $(variant),out$(variant),out)

# ---- packages --------------------------------------------------------------------------------
# What a fresh Debian 12 lacks. Build: needed by `make`; test: by `make check` on top.
BUILD_PACKAGES := gcc libc6-dev pkg-config libraft-dev liblmdb-dev libuv1-dev libnghttp2-dev \
    libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libhttp-parser-dev libyaml-dev \
    libssl-dev libcurl4-openssl-dev python3
TEST_PACKAGES := libcmocka-dev python3-etcd3 etcd-client etcd-server curl valgrind clang \
    libclang-rt-14-dev clang-format-14 nghttp2-client procps openssl
COMPAT_PACKAGES := python3-pip

# ---- tools and flags -------------------------------------------------------------------------
CC := gcc
CLANG := clang
AR := ar
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
    -Wpointer-arith -Wvla -Wundef -Wno-unused-parameter -Wno-missing-field-initializers
OPT := $(if $(DEBUG),-O0 -g3,-O2 -g)
CPPFLAGS := -D_GNU_SOURCE -iquote . -Iinclude -iquote $(B)/gen -I$(B)/gen \
    $(if $(DEBUG)$(SAN),-DKVD_DEBUG)
CFLAGS := -std=gnu11 $(OPT) -pthread -fvisibility=hidden -fno-omit-frame-pointer $(WARNINGS)
LDFLAGS := -pthread
ifneq ($(SAN),)
CFLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SAN)
else
CFLAGS += -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif
ifneq ($(COV),)
CFLAGS += --coverage
LDFLAGS += --coverage
endif
LIBS := -lraft -luv -llmdb -lnghttp2 -lprotobuf-c -lhttp_parser -lyaml -lssl -lcrypto -lm
TEST_LIBS := -lcmocka

# ---- sources ---------------------------------------------------------------------------------
LIB_FOLDERS := base proto kv raft rpc plugins/host
sources = $(sort $(wildcard $(1)/*.c))
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

PROTOS := $(sort $(wildcard proto/*.proto proto/etcd/*.proto proto/kvd/*.proto))
GEN_C := $(patsubst %.proto,$(B)/gen/%.pb-c.c,$(PROTOS))
GEN_H := $(GEN_C:.c=.h)
GEN_O := $(GEN_C:.c=.o)

LIB_A := $(foreach f,$(LIB_FOLDERS),$(B)/lib$(subst /,-,$(f)).a)
# Archives may refer to each other's generated code: linked as one group.
LINK_LIBS = -Wl,--start-group $(LIB_A) -Wl,--end-group

# What authors of plugins test with: one object, so that only include/kvplugin-test.h is visible.
TEST_HOST_A := $(B)/libkvplugin-test.a
TEST_HOST_O := $(call objects,$(call sources,plugins/testing)) \
    $(call objects,$(addprefix plugins/host/,scope.c cache.c cache_fill.c cache_rows.c queue.c controller.c options.c))
# The API server's tables are made from its schema files.
SCHEMA_FOLDER := plugins/schema
SCHEMA_FILES := $(sort $(wildcard $(SCHEMA_FOLDER)/*.schema))
SCHEMA_H := $(if $(SCHEMA_FILES),$(B)/gen/schema_types.h)
SCHEMA_GEN := $(B)/gen/schema_tables.c $(SCHEMA_H)
OBJECT_A := $(if $(SCHEMA_FILES),$(B)/libobject.a)
OBJECT_C := $(call sources,$(SCHEMA_FOLDER)) $(call sources,plugins/object)

# The plugins of the control plane: objects for the tests, position-independent ones for the .so.
APISERVER_C := $(call sources,plugins/apiserver)
APISERVER_A := $(B)/libapiserver.a
CLIENT_C := $(call sources,plugins/client)
PLUGIN_LIBS_apiserver := -lcrypto
CLIENT_A := $(B)/libclient.a
CONTROLLERS_C := $(call sources,plugins/controllers)
CONTROLLERS_A := $(B)/libcontrollers.a
SCHEDULER_C := $(call sources,plugins/scheduler)
SCHEDULER_A := $(B)/libscheduler.a
# The state machine of a hollow pod, which tests run without a host.
HOLLOW_PURE_C := $(addprefix plugins/hollow-node/,podlife.c podplan.c podstatus.c)
pic = $(patsubst %.c,$(B)/pic/%.o,$(1))
# Those that have an entry.
PLANE := $(foreach p,apiserver controllers scheduler hollow-node,$(if $(shell grep -ls '^KVP_PLUGIN\b' plugins/$(p)/*.c),$(p)))
PLUGINS := $(patsubst %,build/plugins/%.so,$(PLANE))
# The same for one test program: each an object with nothing global but its entry, so that names of
# one plugin are not in the way of another's.
plane_entry = $(shell grep -l '^KVP_PLUGIN\b' plugins/$(1)/*.c)
PLANE_LINKED := $(foreach p,$(PLANE),$(if $(call plane_entry,$(p)),$(p)))
PLANE_O := $(PLANE_LINKED:%=$(B)/obj/tests/plane/%.o)

KVD_MAIN := $(B)/obj/kvd/main.o
KVD_O := $(filter-out $(KVD_MAIN),$(call objects,$(call sources,kvd)))
KVCTL_MAIN := $(B)/obj/cli/main.o
# kvctl is built once it has a main.
KVCTL_C := $(if $(wildcard cli/main.c),$(call sources,cli))
KVCTL_O := $(filter-out $(KVCTL_MAIN),$(call objects,$(KVCTL_C)))
PROGRAMS := build/kvd $(if $(KVCTL_C),build/kvctl)

TEST_LIB_O := $(call objects,$(call sources,tests/lib))
UNIT_C := $(sort $(wildcard tests/unit/*/test_*.c))
UNIT := $(patsubst tests/%.c,$(B)/tests/%,$(UNIT_C))
SIM_C := $(sort $(wildcard tests/sim/*.c))
SIM := $(if $(SIM_C),$(B)/tests/kvd-sim)
BENCH_C := $(sort $(wildcard tests/bench/*.c))
BENCH := $(patsubst tests/%.c,$(B)/tests/%,$(BENCH_C))
E2E_C := $(sort $(wildcard tests/e2e/*.c))
E2E := $(patsubst tests/%.c,$(B)/tests/%,$(E2E_C))
FUZZ_C := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAY := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/fuzz/replay_%,$(FUZZ_C))
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,build/fuzz/fuzz_%,$(FUZZ_C))

VERSION_H := $(B)/gen/version.h

# ---- goals -----------------------------------------------------------------------------------
.PHONY: all run check check-all check-compat check-unit check-tsan bench bench-store fuzz format \
    tidy deps test-deps install clean help tests programs FORCE

all: deps ## build kvd and kvctl into build/ (installs missing packages first)
	@+$(MAKE) --no-print-directory programs

programs: $(PROGRAMS) $(PLUGINS)

# The two programs always lie at build/kvd and build/kvctl, whatever the variant.
build/kvd build/kvctl: build/%: $(B)/% FORCE
	@mkdir -p build && { cmp -s $< $@ || cp -f $< $@; }

build/plugins/%.so: $(B)/plugins/%.so FORCE
	@mkdir -p build/plugins && { cmp -s $< $@ || cp -f $< $@; }

run: all ## start one node: etcd's API on 2379, Kubernetes' on 6443 (DATA_DIR=kvd.data has its data)
	@deploy/run build/kvd $(DATA_DIR)

deps:
	@deploy/packages $(BUILD_PACKAGES)

test-deps: deps
	@deploy/packages $(TEST_PACKAGES)

check: test-deps ## everything that proves this tree in minutes: unit, sanitizers, simulation, clients
	@+tests/run check

check-all: test-deps ## check, and the long forms: more seeds, power cuts, fuzzing, valgrind
	@+tests/run check-all

check-compat: test-deps ## clients that need other toolchains (Go, pip); SKIP where one is missing
	@deploy/packages $(COMPAT_PACKAGES)
	@+tests/run check-compat

bench: test-deps ## kvd and etcd side by side in one run
	@deploy/packages strace binutils
	@+tests/bench/run

bench-store: deps ## the two storage layouts measured (settles design section 4)
	@+$(MAKE) --no-print-directory $(B)/tests/bench/bench_store && $(B)/tests/bench/bench_store

tests: $(UNIT) $(SIM) $(E2E) $(FUZZ_REPLAY)

fuzz: $(FUZZ) ## build the libFuzzer targets into build/fuzz/ (tests/fuzz/README.md runs them)

format: ## lay out all C files with clang-format
	$(Q)clang-format-14 -i $$(git ls-files '*.c' '*.h')

tidy: ## the style check
	@tests/tidy/tidy

install: programs $(TEST_HOST_A) ## install under $(DESTDIR)$(PREFIX)
	install -D -m 755 build/kvd $(DESTDIR)$(PREFIX)/bin/kvd
	$(if $(KVCTL_C),install -D -m 755 build/kvctl $(DESTDIR)$(PREFIX)/bin/kvctl)
	$(if $(PLUGINS),install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/kvd/plugins $(PLUGINS))
	install -D -m 644 include/kvplugin.h $(DESTDIR)$(PREFIX)/include/kvplugin.h
	install -D -m 644 include/kvplugin-test.h $(DESTDIR)$(PREFIX)/include/kvplugin-test.h
	install -D -m 644 $(TEST_HOST_A) $(DESTDIR)$(PREFIX)/lib/libkvplugin-test.a
	mkdir -p $(DESTDIR)$(PREFIX)/lib/pkgconfig
	for pc in kvplugin kvplugin-test; do \
	    sed 's|@PREFIX@|$(PREFIX)|' deploy/$$pc.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/$$pc.pc; done
	install -D -m 644 deploy/examples/guestbook.yaml $(DESTDIR)$(PREFIX)/share/kvd/examples/guestbook.yaml
	install -D -m 644 deploy/kvd.conf.sample $(DESTDIR)$(PREFIX)/share/kvd/kvd.conf.sample
	install -D -m 644 deploy/systemd/kvd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/kvd.service

clean: ## remove build/
	rm -rf build

help: ## this list
	@printf 'kvd: goals\n'; \
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22; \
	printf 'knobs\n  DEBUG=1  SAN=address|undefined|thread (or a,b)  COV=1  V=1  B=folder  DATA_DIR=  PREFIX=  DESTDIR=\n'

# ---- rules -----------------------------------------------------------------------------------
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h &: %.proto
	$(call say,PROTOC,$<)
	@mkdir -p $(dir $@)
	$(Q)protoc-c --c_out=$(B)/gen $<

$(B)/gen/%.pb-c.o: $(B)/gen/%.pb-c.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out $(WARNINGS),$(CFLAGS)) -c -o $@ $<

$(SCHEMA_GEN) &: $(SCHEMA_FOLDER)/generate.py $(SCHEMA_FILES)
	$(call say,SCHEMA,$(SCHEMA_FOLDER))
	$(Q)python3 $(SCHEMA_FOLDER)/generate.py $(B)/gen $(SCHEMA_FILES)

$(B)/gen/schema_tables.o: $(B)/gen/schema_tables.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# A pure library: the API server's plugin and its tests link it.
$(B)/libobject.a: $(call objects,$(OBJECT_C)) $(B)/gen/schema_tables.o
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(APISERVER_A): $(call objects,$(APISERVER_C))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(CLIENT_A): $(call objects,$(CLIENT_C))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(CONTROLLERS_A): $(call objects,$(CONTROLLERS_C))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(SCHEDULER_A): $(call objects,$(SCHEDULER_C))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

define plane_object
$(B)/obj/tests/plane/$(1)-entry.o: $(call plane_entry,$(1)) | $(GEN_H) $(VERSION_H) $(SCHEMA_H)
	$$(call say,CC,$$<)
	@mkdir -p $$(dir $$@)
	$$(Q)$$(CC) $$(CPPFLAGS) $$(CFLAGS) -DKVP_ENTRY=plane_entry_$(subst -,_,$(1)) -MMD -MP -c -o $$@ $$<
$(B)/obj/tests/plane/$(1).o: $(B)/obj/tests/plane/$(1)-entry.o $$(call objects,$$(filter-out $$(call plane_entry,$(1)),$$(call sources,plugins/$(1))))
	$$(call say,LD,$$@)
	$$(Q)ld -r -o $$@ $$(filter %.o,$$^)
	$$(Q)objcopy --keep-global-symbol=plane_entry_$(subst -,_,$(1)) $$@
endef
$(foreach p,$(PLANE_LINKED),$(eval $(call plane_object,$(p))))

# Decoding, checking and writing objects is most of what a request costs: a tenth less with -O3.
PIC_OPT := $(if $(DEBUG)$(SAN)$(COV),,-O3)
$(B)/pic/%.o: %.c | $(GEN_H) $(VERSION_H) $(SCHEMA_H)
	$(call say,CC,$< (pic))
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(PIC_OPT) -ffunction-sections -fdata-sections -fPIC -MMD -MP -c -o $@ $<

$(B)/pic/schema_tables.o: $(B)/gen/schema_tables.c
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -c -o $@ $<

# What a plugin of our own is linked with: only what it uses comes along.
$(B)/libpic.a: $(call pic,$(OBJECT_C) $(CLIENT_C) $(call sources,base)) $(B)/pic/schema_tables.o
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

define plane
$(B)/plugins/$(1).so: $$(call pic,$$(call sources,plugins/$(1))) $(B)/libpic.a
	$$(call say,LD,$$@)
	@mkdir -p $$(dir $$@)
	$$(Q)$$(CC) $$(LDFLAGS) -shared -Wl,-z,defs -Wl,--gc-sections -o $$@ $$^ $$(PLUGIN_LIBS_$(1)) -lyaml -lm
endef
$(foreach p,$(PLANE),$(eval $(call plane,$(p))))

$(VERSION_H): FORCE
	@mkdir -p $(dir $@)
	@printf '#define KVD_GIT_SHA "%s"\n' "$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" > $@.new; \
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(B)/obj/%.o: %.c | $(GEN_H) $(VERSION_H) $(SCHEMA_H)
	$(call say,CC,$<)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

define library
$(B)/lib$(subst /,-,$(1)).a: $$(call objects,$$(call sources,$(1))) $(if $(filter proto,$(1)),$(GEN_O))
	@mkdir -p $$(dir $$@)
	@rm -f $$@
	$$(call say,AR,$$@)
	$$(Q)$$(AR) rcs $$@ $$^
endef
$(foreach f,$(LIB_FOLDERS),$(eval $(call library,$(f))))

$(TEST_HOST_A): $(TEST_HOST_O) $(B)/libbase.a
	$(call say,AR,$@)
	$(Q)ld -r -o $(B)/kvplugin-test.o $^
	$(Q)objcopy --localize-hidden $(B)/kvplugin-test.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $(B)/kvplugin-test.o

$(B)/kvd: $(KVD_MAIN) $(KVD_O) $(LIB_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(KVD_MAIN) $(KVD_O) $(LINK_LIBS) $(LIBS)

$(B)/kvctl: $(KVCTL_MAIN) $(KVCTL_O) $(OBJECT_A) $(LIB_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(KVCTL_MAIN) $(KVCTL_O) $(OBJECT_A) $(LINK_LIBS) $(LIBS)

$(B)/tests/unit/apiserver/%: $(B)/obj/tests/unit/apiserver/%.o $(APISERVER_A) $(TEST_HOST_A) $(OBJECT_A) $(B)/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(PLUGIN_LIBS_apiserver) -lyaml -lm

$(B)/tests/unit/scheduler/%: $(B)/obj/tests/unit/scheduler/%.o $(SCHEDULER_A) $(CLIENT_A) $(TEST_HOST_A) $(OBJECT_A) $(B)/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) -lyaml -lm

$(B)/tests/unit/controllers/%: $(B)/obj/tests/unit/controllers/%.o $(CONTROLLERS_A) $(CLIENT_A) $(TEST_HOST_A) $(OBJECT_A) $(B)/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) -lyaml -lm

$(B)/tests/unit/hollow-node/%: $(B)/obj/tests/unit/hollow-node/%.o $(call objects,$(HOLLOW_PURE_C)) $(OBJECT_A) $(B)/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) -lyaml -lm

# The API server in the real host.
$(B)/tests/unit/apiserver/test_provide $(B)/tests/unit/apiserver/test_bodies_threads: $(B)/tests/%: $(B)/obj/tests/%.o $(APISERVER_A) $(OBJECT_A) $(TEST_LIB_O) $(KVD_O) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(APISERVER_A) $(OBJECT_A) $(TEST_LIB_O) $(KVD_O) $(LINK_LIBS) $(TEST_LIBS) $(LIBS)

# The control plane's plugins in the real host, in virtual time (tests/unit/plane/plane.h).
# The archives are for tests that read objects as a plugin does.
$(B)/tests/unit/plane/%: $(B)/obj/tests/unit/plane/%.o $(B)/obj/tests/unit/plane/plane.o $(PLANE_O) $(CONTROLLERS_A) $(CLIENT_A) $(OBJECT_A) $(TEST_LIB_O) $(KVD_O) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(B)/obj/tests/unit/plane/plane.o $(PLANE_O) $(CONTROLLERS_A) $(CLIENT_A) $(OBJECT_A) $(TEST_LIB_O) $(KVD_O) $(LINK_LIBS) $(TEST_LIBS) $(LIBS)

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(TEST_HOST_A) $(TEST_LIB_O) $(KVD_O) $(KVCTL_O) $(OBJECT_A) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(TEST_HOST_A) $(TEST_LIB_O) $(KVD_O) $(KVCTL_O) $(OBJECT_A) $(LINK_LIBS) $(TEST_LIBS) $(LIBS)

# The services' tests bring their own call and request: theirs win over the engine's.
$(B)/tests/unit/rpc/test_svc_%: LDFLAGS += -Wl,--allow-multiple-definition

# Two samples are linked into the simulator, each with an entry name of its own.
SIM_PLUGINS_O := $(B)/obj/tests/sim/plugins/hello.o $(B)/obj/tests/sim/plugins/ttl-janitor.o
$(B)/obj/tests/sim/plugins/hello.o: SIM_ENTRY := hello_entry
$(B)/obj/tests/sim/plugins/ttl-janitor.o: SIM_ENTRY := janitor_entry
$(SIM_PLUGINS_O): $(B)/obj/tests/sim/plugins/%.o: Makefile
	$(call say,CC,plugins/sample/$*/$*.c)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -DKVP_ENTRY=$(SIM_ENTRY) -MMD -MP -c -o $@ plugins/sample/$*/$*.c

$(B)/tests/kvd-sim: $(call objects,$(SIM_C)) $(SIM_PLUGINS_O) $(PLANE_O) $(CLIENT_A) $(OBJECT_A) $(TEST_LIB_O) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(call objects,$(SIM_C)) $(SIM_PLUGINS_O) $(PLANE_O) $(CLIENT_A) $(OBJECT_A) $(TEST_LIB_O) $(LINK_LIBS) $(TEST_LIBS) $(LIBS)

$(E2E): $(B)/tests/e2e/%: $(B)/obj/tests/e2e/%.o $(TEST_LIB_O) $(KVCTL_O) $(OBJECT_A) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(TEST_LIB_O) $(KVCTL_O) $(OBJECT_A) $(LINK_LIBS) $(TEST_LIBS) $(LIBS)

$(BENCH): $(B)/tests/bench/%: $(B)/obj/tests/bench/%.o $(TEST_LIB_O) $(KVCTL_O) $(OBJECT_A) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(TEST_LIB_O) $(KVCTL_O) $(OBJECT_A) $(LINK_LIBS) $(TEST_LIBS) $(LIBS)

# A fuzz target without libFuzzer: replays the corpus files given, under the variant's sanitizers.
$(B)/tests/fuzz/replay_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o $(KVD_O) $(APISERVER_A) $(OBJECT_A) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(B)/obj/tests/fuzz/replay.o $(KVD_O) $(APISERVER_A) $(OBJECT_A) $(LINK_LIBS) $(LIBS)

# libFuzzer needs clang: all of kvd is compiled once more with coverage into build/fuzz/.
FUZZ_SRC := $(foreach f,$(LIB_FOLDERS),$(call sources,$(f))) $(filter-out kvd/main.c,$(call sources,kvd)) \
    $(APISERVER_C) $(OBJECT_C)
FUZZ_FLAGS := -std=gnu11 -O1 -g -pthread -D_GNU_SOURCE -DKVD_DEBUG -iquote . -iquote $(B)/gen \
    -I$(B)/gen -Iinclude -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -w
build/fuzz/obj/%.o: %.c | $(GEN_H) $(VERSION_H) $(SCHEMA_H)
	$(call say,CLANG,$<)
	@mkdir -p $(dir $@)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

build/fuzz/liball.a: $(patsubst %.c,build/fuzz/obj/%.o,$(FUZZ_SRC)) $(GEN_O) $(B)/gen/schema_tables.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

build/fuzz/fuzz_%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/liball.a
	$(call say,LD,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $< build/fuzz/liball.a $(LIBS)

FORCE:

-include $(shell find $(B)/obj $(B)/pic build/fuzz/obj -name '*.d' 2>/dev/null)
.SECONDARY:
