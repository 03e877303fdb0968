# SPDX-License-Identifier: Apache-2.0
# The tests' part of the Makefile: builds what test/run and scripts/demo need and calls them.
#
# Unit tests link the whole project but main(), compiled a second time under ASan and UBSan into $(B)/asan.
# The blob is linked in as it is: it cannot be instrumented.

SAN        := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SAN_OBJ    := $(patsubst $(B)/%.o,$(B)/asan/%.o,$(filter-out $(B)/cli/main.o,$(OBJ)))
UNIT       := $(patsubst test/unit/%.c,$(B)/asan/unit/%,$(wildcard test/unit/test_*.c))
GOLDEN     := $(B)/asan/unit/test_golden
KIND       := $(patsubst test/kind/%.c,$(B)/test/kind/%,$(wildcard test/kind/*.c))
SABOTAGE   := $(B)/test/fault/sabotage.so
FAULT      := $(patsubst test/fault/%.c,$(B)/test/fault/%,$(filter-out %/sabotage.c,$(wildcard test/fault/*.c))) $(SABOTAGE)
REAL       := $(patsubst test/real/%.c,$(B)/test/real/%,$(wildcard test/real/*.c))
SUBJECT    := $(B)/test/golden/subject
BENCH      := $(B)/bench/subject $(B)/bench/ceiling $(B)/bench/floor
TOLL       := $(B)/bench/toll
STUB       := $(B)/test/stub/libcuda.so.1
GPU        := $(patsubst test/gpu/%.c,$(B)/test/gpu/%,$(wildcard test/gpu/*.c))
TEST_FLAGS  = -std=gnu17 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Wshadow $(if $(CI),-Werror) -pthread -Itest/kind -MMD -MP
RUN         = B=$(B) test/run
ALL_CPUS    = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: check golden kind fault real gpu tests bench

# `make check` and `make demo` set the machine up themselves; the other targets expect it done.
check: deps
	@$(MAKE) --no-print-directory $(ALL_CPUS) all tests
	@$(RUN)

tests: $(UNIT) $(GOLDEN) $(KIND) $(FAULT) $(REAL) $(GPU) $(STUB) $(SUBJECT) $(BENCH) $(TOLL) $(B)/thaw $(B)/thaw-gpu-agent $(B)/libthaw-cuda.so

unit: $(UNIT) $(STUB)
	@$(RUN) unit
golden: $(GOLDEN) $(SUBJECT) $(B)/thaw
	@$(RUN) golden
kind: $(KIND) $(B)/thaw
	@$(RUN) kind
fault: $(FAULT) $(KIND) $(SUBJECT) $(B)/thaw $(B)/thaw-gpu-agent
	@$(RUN) fault
real: $(REAL) $(BENCH) $(B)/thaw
	@$(RUN) real
gpu: $(GPU) $(STUB) $(TOLL) $(B)/bench/ceiling $(B)/thaw $(B)/thaw-gpu-agent $(B)/libthaw-cuda.so
	@$(RUN) gpu
lint: $(PB_H)
	@$(RUN) lint

# What clang-tidy says of a file is asked again when the file or a header of it has changed: then its object has.
TIDY       := $(SRC:src/%.c=$(B)/lint/%.tidy) $(patsubst src/%.c,$(B)/lint/%.tidy,$(wildcard src/pie/*.c))
TIDY_FLAGS  = -std=gnu17 -Isrc
.PHONY: tidy
tidy: $(TIDY)
# the blob works on memory that others filled, by number: the analyzer takes it for garbage
$(B)/lint/pie/%.tidy: TIDY_FLAGS += -ffreestanding -mgeneral-regs-only
$(B)/lint/pie/%.tidy: TIDY_CHECKS = --checks=-clang-analyzer-core.UndefinedBinaryOperatorResult
$(B)/lint/%.tidy: TIDY_FLAGS += -D_GNU_SOURCE -DTHAW_VERSION='"$(VERSION)"' -I$(B)/gen -I$(B)/gen/proto
$(B)/lint/%.tidy: src/%.c $(B)/%.o .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy --quiet $(TIDY_CHECKS) $< -- $(TIDY_FLAGS) >$@.txt 2>/dev/null || { grep -E '(error|warning): ' $@.txt; false; }
	@touch $@

demo: deps
	@$(MAKE) --no-print-directory $(ALL_CPUS) all $(B)/bench/ceiling
	@B=$(B) scripts/demo

# ARGS: see bench/run --help
bench: deps
	@command -v gnuplot >/dev/null || scripts/deps --plots
	@$(MAKE) --no-print-directory $(ALL_CPUS) all $(BENCH)
	@B=$(B) bench/run $(ARGS)

# --- unit tests ------------------------------------------------------------------------------------------------------
$(B)/asan/gen/proto/%.pb-c.o: $(B)/gen/proto/%.pb-c.c | $(PB_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SAN) -w -I$(B)/gen/proto -c -o $@ $<
$(B)/asan/%.o: src/%.c | $(PB_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SAN) $(WARN) -O1 -I$(B)/gen/proto -c -o $@ $<
$(B)/asan/unit/%: test/unit/%.c $(SAN_OBJ) $(B)/pie/blob.embed.o
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SAN) $(filter-out -Wmissing-prototypes,$(WARN)) -O1 -I$(B)/gen/proto -Itest/unit -o $@ $(filter %.c %.o,$^) $(LIBS) -lcmocka
# of the blob and of the preloaded library, which thaw is not linked with
$(B)/asan/unit/test_commit: src/pie/op_sync.c
$(B)/asan/unit/test_heap: src/preload/heap.c
$(B)/asan/unit/test_gate: src/preload/gate.c src/preload/gate_place.c $(B)/preload/gate_stubs.o
$(GOLDEN): test/golden/test_golden.c $(SAN_OBJ) $(B)/pie/blob.embed.o
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SAN) $(filter-out -Wmissing-prototypes,$(WARN)) -O1 -I$(B)/gen/proto -o $@ $(filter %.c %.o,$^) $(LIBS) -lcmocka

# --- programs that are dumped ----------------------------------------------------------------------------------------
$(B)/test/%: test/%.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $<
# linked with the driver, as few programs are
$(B)/test/gpu/calls: test/gpu/calls.c $(STUB)
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -Wl,-z,now -o $@ $< $(STUB)
# preloaded into thaw
$(SABOTAGE): test/fault/sabotage.c
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -shared -fPIC -o $@ $<
# NVIDIA's driver, imitated; static thread-local variables, as LeakSanitizer crashes in a loaded library's others
$(STUB): $(wildcard test/stub/*.c test/stub/*.h)
	@mkdir -p $(@D)
	$(CC) $(filter-out -MMD -MP,$(TEST_FLAGS)) -shared -fPIC -ftls-model=initial-exec -Wl,-Bsymbolic,-soname,libcuda.so.1 -o $@ $(filter %.c,$^)
$(SUBJECT): test/golden/criu-4.2/subject.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O2 -w -static -pthread -o $@ $<
# static: bench/pack carries them to other machines, and a subject shall have no more mappings than it makes
$(B)/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARN) -static -o $@ $<
# nothing can be preloaded into a static program
$(TOLL): bench/toll.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARN) -o $@ $<

-include $(SAN_OBJ:.o=.d) $(UNIT:=.d) $(KIND:=.d) $(FAULT:=.d) $(REAL:=.d) $(GPU:=.d)
