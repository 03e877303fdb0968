/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMX tiles in use, in a thread that sleeps: permission, configuration and contents. Written as bytes, for any
 * compiler.
 */
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "subject.h"

enum { REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18, ROWS = 16, ROW_LEN = 64 };

static uint8_t tile[ROWS][ROW_LEN] __attribute__((aligned(64))), back[ROWS][ROW_LEN] __attribute__((aligned(64)));
static volatile int ready, go;

static void tile_load(void)
{
	static uint8_t config[64] __attribute__((aligned(64))) = { 1 };

	config[16] = ROW_LEN;
	config[48] = ROWS;
	__asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x07" ::"D"(config) : "memory");        /* ldtilecfg (%rdi) */
	__asm__ volatile(".byte 0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0x37" ::"D"(tile), "S"((long)ROW_LEN) : "memory"); /* tileloadd (%rdi,%rsi), %tmm0 */
}

static void tile_store(void)
{
	__asm__ volatile(".byte 0xc4, 0xe2, 0x7a, 0x4b, 0x04, 0x37" ::"D"(back), "S"((long)ROW_LEN) : "memory"); /* tilestored */
}

static void *uses_tiles(void *arg)
{
	tile_load();
	ready = 1;
	while (!go)
		syscall(SYS_futex, &go, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
	tile_store();
	return arg;
}

int main(void)
{
	pthread_t th;

	if (syscall(SYS_arch_prctl, REQ_XCOMP_PERM, TILE_DATA) != 0)
		subject_skip("this CPU or kernel has no AMX");
	for (int i = 0; i < ROWS; i++)
		for (int k = 0; k < ROW_LEN; k++)
			tile[i][k] = (uint8_t)(i * 37 + k * 11 + 1);
	CHECK(!pthread_create(&th, NULL, uses_tiles, NULL), "pthread_create");
	while (!ready)
		usleep(1000);
	usleep(20000);
	subject_ready();
	go = 1;
	syscall(SYS_futex, &go, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0);
	pthread_join(th, NULL);
	CHECK(!memcmp(tile, back, sizeof(tile)), "a tile's contents");
	/* a tile can be used for the first time as well */
	tile_load();
	memset(back, 0, sizeof(back));
	tile_store();
	CHECK(!memcmp(tile, back, sizeof(tile)), "tiles after the restore");
	return 0;
}
