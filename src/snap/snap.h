/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model that dump fills and restore reads: a process tree as decoded messages,
 * joined by pointers.
 *
 * A message of the wire format is the leaf of the model; there is no second copy
 * of its fields in structs of our own. So what an image says and what the engine
 * knows cannot drift apart, and fields we do not know survive. snap adds what
 * the wire format leaves to be looked up: parents, threads, shared objects by id.
 *
 *   dump:    kinds fill messages -> snap_save() writes the images
 *   restore: snap_load() reads them -> snap_check() refuses what does not resolve -> plan
 *
 * Bulk contents (pages) go past it: snap_pages says where they are.
 * Everything lives in one arena; built and read by the engine's main thread,
 * read-only once other threads exist.
 */
#ifndef SNAP_SNAP_H
#define SNAP_SNAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "img/img.h"
#include "img/messages.h"

/* vma_entry.status: what kind of mapping it is (wire format). */
enum vma_status {
	VMA_AREA_REGULAR = 1 << 0,
	VMA_AREA_STACK = 1 << 1,
	VMA_AREA_VSYSCALL = 1 << 2,
	VMA_AREA_VDSO = 1 << 3,
	VMA_AREA_HEAP = 1 << 5,
	VMA_FILE_PRIVATE = 1 << 6,
	VMA_FILE_SHARED = 1 << 7,
	VMA_ANON_SHARED = 1 << 8,
	VMA_ANON_PRIVATE = 1 << 9,
	VMA_AREA_SYSVIPC = 1 << 10,
	VMA_AREA_SOCKET = 1 << 11,
	VMA_AREA_VVAR = 1 << 12,
	VMA_AREA_AIORING = 1 << 13,
	VMA_AREA_MEMFD = 1 << 14,
	VMA_AREA_SHSTK = 1 << 15,
	VMA_AREA_GUARD = 1 << 16, /* not a mapping: a range of guard pages inside one */
	VMA_AREA_UPROBES = 1 << 17,
};

/* task_core_entry.task_state (wire format). */
enum task_state { TASK_ALIVE = 1, TASK_DEAD = 2, TASK_STOPPED = 3, TASK_ZOMBIE = 6 };

enum { SNAP_PAGE = 4096 };

/* A pages file that holds bytes of an object: in the image directory (depth 0), in its parent (1), in that one's... */
struct snap_source {
	uint32_t depth, pages_id;
};

/* A piece of an object whose bytes lie together in one of its sources. */
struct snap_extent {
	uint64_t va, len, off;
	uint32_t source;
};

/* The name in the inventory that says: CUDA processes, which were checkpointed by the driver. */
#define SNAP_CUDA_PLUGIN "cuda_plugin"
/* Images with GPU memory in files of our own have a version of our own, so that CRIU does not restore all but that. */
enum { SNAP_VERSION = 2, SNAP_VERSION_GPU = 10001 };

/* Where the bytes of one memory object are: runs of pages, in the order in which pages-<id>.img holds them. */
struct snap_pages {
	uint32_t pages_id;
	PagemapEntry **runs; /* nr_pages and flags are always set (older images are brought to it) */
	size_t nruns;
	uint64_t file_len;   /* bytes that pages-<id>.img had when it was loaded; 0 in a dump */
	/* snap_chain(): the same, ascending, with runs in a parent's pages resolved to where they really are */
	struct snap_extent *extents;
	size_t nextents;
	struct snap_source *sources;
	size_t nsources;
	/* The task that has the pages of runs marked `same` as well; 0: nobody looked. */
	uint32_t compared_with;
};

struct snap_task {
	struct snap_task *parent; /* NULL: the root */
	struct snap_task **children;
	size_t nchildren;
	size_t index;             /* in snap.tasks: parents before children */

	PstreeEntry *pst;         /* pid, ppid, pgid, sid, thread IDs */
	CoreEntry **cores;        /* [0] is the leader's, then as pst->threads */
	size_t ncores;
	bool zombie;              /* dead: it has a core entry with an exit code and nothing else */

	TaskKobjIdsEntry *ids;
	MmEntry *mm;
	FsEntry *fs;
	FdinfoEntry **fds;
	size_t nfds;
	struct snap_pages pages;
};

/* A memory object of its own: shared anonymous memory or a memfd, by shmid. */
struct snap_shmem {
	uint64_t shmid;
	struct snap_pages pages;
};

struct snap {
	struct arena *a;
	InventoryEntry *inventory;
	struct snap_task **tasks;
	size_t ntasks;
	struct snap_shmem **shmem;
	size_t nshmem;
	/* Every image of which a directory has one (files, pipes-data, memfd, ...), as it stands in the file. */
	struct img_msgs list[IMG_COUNT];
	struct snap_index *files; /* for snap_file() */
	bool threads_saved;       /* by snap_save_threads() */
};

struct imgdir;

struct snap *snap_new(void);
void snap_free(struct snap *s);

/* Reads and joins all images of a directory. Nothing outside is touched. -errno with the file and the reason. */
int snap_load(struct snap *s, int dirfd) must_check;
/* Refuses by name what cannot be restored right: unresolved ids, foreign architecture, overlapping mappings, ... */
int snap_check(const struct snap *s) must_check;
/*
 * Says of every page in which file it lies, be it in the directory itself or in one that it builds upon (checked
 * images only). A page that is nowhere is refused by name.
 */
int snap_chain(struct snap *s, const struct imgdir *dir) must_check;
/*
 * The page map `num` of a directory, as extents alone. One that the directory does not have has none.
 * A dump looks here for what its parent images hold.
 */
int snap_chain_of(const struct imgdir *dir, enum img_id id, uint64_t num, struct arena *a,
		  struct snap_pages *ret) must_check;
/*
 * Writes all message images but the inventory into a directory (an open
 * transaction: imgdir_begin() before, imgdir_commit() after), and signs the
 * inventory. Parents before children, lists as they were added.
 */
int snap_save(struct snap *s, struct imgdir *dir) must_check;
/*
 * Begins to write the cores of threads, which are complete long before the rest; not those of leaders, where what their
 * tasks share is. snap_save() leaves them to it, and whoever began it finishes it.
 */
struct crew *snap_save_threads(struct snap *s, struct imgdir *dir);

/* The page maps of all tasks alone: what a pre-dump has. */
int snap_save_pages(struct snap *s, struct imgdir *dir) must_check;

/* Appends to one of the lists. A file entry must have its id. */
void snap_add(struct snap *s, enum img_id id, ProtobufCMessage *msg);
void snap_add_payload(struct snap *s, enum img_id id, ProtobufCMessage *msg, const void *payload, size_t len);

/* NULL when there is none. */
FileEntry *snap_file(const struct snap *s, uint32_t id);
struct snap_task *snap_task(const struct snap *s, uint32_t pid);
struct snap_shmem *snap_shmem(const struct snap *s, uint64_t shmid);

/* The id of the tree's time namespace, the number of its image; 0 when it was that of whoever dumped it. */
uint32_t snap_timens(const struct snap *s);

/* The task's name, "zombie"/"?" when the image has none. */
const char *snap_comm(const struct snap_task *t);

/* Whether both have come out of one execve(): then they may have copy-on-write memory in common. */
bool snap_same_program(const struct snap_task *a, const struct snap_task *b);

/* Bytes that the object's own pages file must have. */
uint64_t snap_pages_bytes(const struct snap_pages *p);
/* Bytes of the whole object, parents' included: what a restore has to fill. After snap_chain(). */
uint64_t snap_chain_bytes(const struct snap_pages *p);

#endif
