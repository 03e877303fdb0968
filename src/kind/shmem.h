/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory objects: memfds and shared anonymous memory, which is the same
 * to the kernel: an unlinked file of its internal tmpfs. An object has a shmid,
 * under which its bytes lie (pagemap-shmem-<shmid>), and descriptors and mappings
 * refer to it through a memfd file entry.
 *
 * The kinds that find objects (memfd descriptors, mappings) register them here;
 * the page engine walks the list and copies bytes.
 */
#ifndef KIND_SHMEM_H
#define KIND_SHMEM_H

#include "kind/kind.h"

/* ---- dump ------------------------------------------------------------------------------------ */

struct shmem_object {
	uint64_t ino;
	uint64_t shmid;
	uint64_t size;           /* bytes */
	int fd;                  /* opened read-only for its contents: SEEK_DATA, pread, mmap; shmem_done() closes it */
	MemfdInodeEntry *inode;
};

/* Is this a file of the kernel's internal tmpfs, as memfds, shared memory and drivers' objects are? */
bool shmem_is_device(uint64_t dev) must_check;

/* The inode_id of the object behind f, registered on first sight. -ENOTSUP by name for what is no such object. */
int shmem_of(struct dumping *d, const struct fd_facts *f, uint32_t *ret_inode_id) must_check;

/* Every object found so far; the array is valid until the next shmem_of(). */
size_t shmem_list(const struct dumping *d, struct shmem_object *const **ret_objects);

/* Closes the descriptors. */
void shmem_done(struct dumping *d);

/* ---- restore --------------------------------------------------------------------------------- */

/*
 * The object as a descriptor, open for reading and writing (adopted: every task
 * inherits it). Created with its size, owner and mode on first use. It has no
 * seals yet: fill it, then shmem_seal_all().
 */
int shmem_open(struct restoring *r, uint64_t shmid) must_check;
/*
 * A descriptor of it for mappings: writable false gives one through which no
 * writable shared mapping can be made, as mprotect() and seals look at that.
 */
int shmem_open_for_map(struct restoring *r, uint64_t shmid, bool writable) must_check;
/* The shmid of a memfd file entry's object. */
int shmem_of_file(const struct restoring *r, const FileEntry *e, uint64_t *ret_shmid) must_check;

/* When all contents are there and nobody in the engine has a writable mapping of one. */
int shmem_seal_all(struct restoring *r) must_check;

#endif
