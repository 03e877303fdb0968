# SPDX-License-Identifier: Apache-2.0
# thaw. `make` builds build/thaw, `make demo` shows it, `make check` tests it; `make help` lists the rest.
B        ?= build
CC       ?= gcc
PROTOC_C ?= protoc-c
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wvla $(if $(CI),-Werror)
CFLAGS   ?= -O2 -g
VERSION  := 0.1

ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -pthread $(CFLAGS) -Isrc -I$(B)/gen -MMD -MP -DTHAW_VERSION='"$(VERSION)"'
# liburing makes the engine's own reads from a disk quicker; page workers have no library and need none.
URING     := $(shell echo 'int main(void) { return 0; }' | $(CC) -include liburing.h -x c - -l:liburing.a -o /dev/null 2>/dev/null && echo y)
ALL_CFLAGS += $(if $(URING),-DHAVE_LIBURING)
# A library in the program is one that nobody looks for, maps and relocates when it starts: of a small dump's 5 ms all of them
# together are 0.6, of a small restore's 4.5 ms 1. Without static libraries thaw is linked as usual.
own        = $(if $(filter /%,$(shell $(CC) -print-file-name=lib$(1).a)),-l:lib$(1).a,-l$(1))
LIBS      := $(if $(URING),-l:liburing.a) $(call own,protobuf-c) $(call own,json-c) -pthread
STATIC    := $(shell echo 'int main(void) { return 0; }' | $(CC) $(CFLAGS) -static-pie -x c - $(LIBS) -o /dev/null 2>/dev/null && echo -static-pie)

PROTO    := $(wildcard proto/*.proto)
PB_C     := $(PROTO:proto/%.proto=$(B)/gen/proto/%.pb-c.c)
PB_H     := $(PB_C:.c=.h)
PIE_SRC  := $(wildcard src/pie/*.c src/pie/*.S)
SRC      := $(filter-out src/pie/% src/preload/%,$(wildcard src/*/*.c src/arch/x86_64/*.c))
OBJ      := $(SRC:src/%.c=$(B)/%.o) $(PB_C:.c=.o)
PIE_OBJ  := $(patsubst src/%,$(B)/%.o,$(basename $(PIE_SRC)))
LIB_OBJ  := $(patsubst src/%,$(B)/%.o,$(basename $(wildcard src/preload/*.c src/preload/*.S)))

.PHONY: all help deps check unit demo lint man install clean
.SECONDARY:
all: $(B)/thaw $(B)/thaw-gpu-agent $(B)/libthaw-cuda.so

help:
	@echo 'make          build $(B)/thaw (and the man pages in $(B)/man)'
	@echo 'make demo     dump a redis-server of over 1 GiB, restore it serially and in parallel, compare (root)'
	@echo 'make bench    measure dump and restore beside the raw ceiling (root; ARGS="--help" lists what there is)'
	@echo 'make check    all tests (root): unit, golden, kind, fault, real programs'
	@echo 'make unit     unit tests alone, under ASan and UBSan (no root)'
	@echo 'make lint     cppcheck and clang-tidy'
	@echo 'make install  thaw, its library, man pages and the unit of the GPU agent, below PREFIX (/usr/local) in DESTDIR'
	@echo 'make deps     install what the above need (Debian packages, root)'

deps:
	@scripts/deps

# The linker takes out of an archive what is used: thaw has no part of the agent, which loads the driver's library.
$(B)/thaw: $(B)/cli/main.o $(B)/thaw.a
	$(CC) $(ALL_CFLAGS) $(STATIC) -o $@ $^ $(LIBS)
$(B)/thaw-gpu-agent: $(OBJ) $(B)/pie/blob.embed.o
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)
$(B)/thaw.a: $(filter-out $(B)/cli/main.o,$(OBJ)) $(B)/pie/blob.embed.o
	@rm -f $@
	$(AR) rcs $@ $^

# --- images: our .proto files become protobuf-c code ---------------------------------------------
$(B)/gen/proto/%.pb-c.c $(B)/gen/proto/%.pb-c.h: proto/%.proto | $(B)/gen/proto/
	$(PROTOC_C) --c_out=$(B)/gen/proto -Iproto $<

$(B)/gen/proto/%.pb-c.o: $(B)/gen/proto/%.pb-c.c | $(PB_H)
	$(CC) $(ALL_CFLAGS) -w -I$(B)/gen/proto -c -o $@ $<

# --- the program ----------------------------------------------------------------------------------
$(B)/%.o: src/%.c | $(PB_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARN) -I$(B)/gen/proto -c -o $@ $<

# --- the blob: no libc, no relocations, no .bss ---------------------------------------------------
PIE_CFLAGS = -std=gnu17 -Os -g $(WARN) -Isrc -MMD -MP -ffreestanding -fno-builtin -fno-stack-protector -fpie \
	-fvisibility=hidden -fcf-protection=none -fno-jump-tables -fno-tree-loop-distribute-patterns \
	-fno-asynchronous-unwind-tables -fomit-frame-pointer -mno-red-zone -mgeneral-regs-only -nostdinc \
	-isystem $(shell $(CC) -print-file-name=include) -I/usr/include -I/usr/include/$(shell $(CC) -print-multiarch)

$(B)/pie/%.o: src/pie/%.c
	@mkdir -p $(@D)
	$(CC) $(PIE_CFLAGS) -c -o $@ $<
$(B)/pie/%.o: src/pie/%.S
	@mkdir -p $(@D)
	$(CC) $(PIE_CFLAGS) -c -o $@ $<
$(B)/pie/blob.elf: $(PIE_OBJ) src/pie/blob.lds
	$(CC) -nostdlib -static -Wl,-T,src/pie/blob.lds -Wl,--build-id=none -Wl,--no-undefined -Wl,-z,noexecstack -o $@ $(PIE_OBJ)
	@if [ -n "$$(readelf -rW $@ | grep -E 'R_X86')" ]; then echo 'blob: relocations left'; rm -f $@; exit 1; fi
	@if readelf -SW $@ | grep -qE ' \.(bss|data) '; then echo 'blob: writable data'; rm -f $@; exit 1; fi
$(B)/pie/blob.bin: $(B)/pie/blob.elf
	objcopy -O binary $< $@
$(B)/pie/blob.embed.o: $(B)/pie/blob.bin
	printf '.section .rodata\n.globl pie_blob, pie_blob_end\n.balign 4096\npie_blob: .incbin "%s"\npie_blob_end:\n.section .note.GNU-stack,"",@progbits\n' $< | $(CC) -x assembler -c -o $@ -

# --- what `thaw run` preloads: libc and nothing else, and no name of ours for the program to trip over ---------------
LIB_CFLAGS = -std=gnu17 -D_GNU_SOURCE -O2 -g $(WARN) -Isrc -MMD -MP -fPIC -fvisibility=hidden -ftls-model=initial-exec

$(B)/preload/%.o: src/preload/%.c
	@mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) -c -o $@ $<
$(B)/preload/%.o: src/preload/%.S
	@mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) -c -o $@ $<
$(B)/libthaw-cuda.so: $(LIB_OBJ)
	$(CC) -shared -Wl,-soname,libthaw-cuda.so,-z,now,-z,relro,-z,noexecstack -o $@ $^ -pthread

PREFIX ?= /usr/local
install: all man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/thaw $(DESTDIR)$(PREFIX)/lib/systemd/system \
		$(DESTDIR)$(PREFIX)/share/man/man1
	install $(B)/thaw $(DESTDIR)$(PREFIX)/bin/
	install $(B)/thaw-gpu-agent $(DESTDIR)$(PREFIX)/lib/thaw/
	install -m644 $(B)/libthaw-cuda.so $(DESTDIR)$(PREFIX)/lib/thaw/
	install -m644 $(MAN) $(DESTDIR)$(PREFIX)/share/man/man1/
	sed 's:/usr/bin/thaw:$(PREFIX)/bin/thaw:' packaging/thaw-gpu-agent.service \
		>$(DESTDIR)$(PREFIX)/lib/systemd/system/thaw-gpu-agent.service

%/:
	@mkdir -p $@

clean:
	rm -rf $(B)

-include test/test.mk doc/doc.mk
-include $(OBJ:.o=.d) $(PIE_OBJ:.o=.d) $(LIB_OBJ:.o=.d)
