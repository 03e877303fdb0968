/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the memory of a process, or a shared memory object, that is dumped.
 *
 * process_vm_readv() is the quick way, but it pins what it reads, and before the kernel pins a page that two
 * processes share it gives the reader's victim a copy of its own. So reading would make a preforked server as many
 * times larger as it has workers, for good if it goes on. /proc/PID/mem is slower and does not pin: it reads what is
 * shared.
 */
#ifndef PAGE_TARGET_READ_H
#define PAGE_TARGET_READ_H

#include "page/collect.h"

/* Reads n ranges, one behind the other, to buf. by_mem: the owner itself may not read them. -errno with a trail. */
int target_read(const struct collect_object *o, const struct iovec *v, size_t n, bool by_mem, uint8_t *buf) must_check;
/* The same page by page, of a process that runs: gone[] says which were unmapped meanwhile. */
void target_read_rest(const struct collect_object *o, const struct iovec *v, size_t n, uint8_t *buf, bool *gone);

#endif
