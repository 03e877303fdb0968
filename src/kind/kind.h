/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds: one file for every noun the kernel knows, with both its dump and its
 * restore, hooked in by one row of registry.c.
 *
 *   kind_fd    what a descriptor can refer to: eventfd, pipe, unix socket, ...
 *   kind_mem   what a mapping can be: anonymous, file, shared, vdso, ...
 *   kind_task  what a task or thread has: credentials, timers, signals, ...
 *
 * A kind never calls another kind: it goes through dumping_file() and
 * restoring_fd(). Callbacks return 0 or -errno with a trail that names the
 * object; the caller prefixes "task 12 (nginx): fd 9:". NULL means "nothing to do".
 */
#ifndef KIND_KIND_H
#define KIND_KIND_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/opts.h"
#include "kern/maps.h"
#include "kern/proc.h"
#include "kern/ptrace.h"
#include "kind/own.h"
#include "prog/asm.h"
#include "snap/snap.h"

/* What a kind remembers between its own calls during one dump or restore hangs here, arena-allocated by the kind. */
enum kind_state {
	KIND_STATE_PIPE,
	KIND_STATE_GHOST,
	KIND_STATE_UNIX,
	KIND_STATE_EPOLL,
	KIND_STATE_TTY,
	KIND_STATE_LOCK,
	KIND_STATE_SHMEM,
	KIND_STATE_MAPPED,
	KIND_STATE_CREDS,
	KIND_STATE_RLIMIT,
	KIND_STATES,
};

/* ---- dump ------------------------------------------------------------------------------------ */

/* What all kinds see of a running dump. */
struct dumping {
	const struct opts *opts;
	struct snap *snap;
	struct arena *a;      /* snap's */
	struct imgdir *dir;
	uint32_t next_id;     /* the next file id; ids of other name spaces have their own counters in their kind */
	struct files *files;  /* dump/files.c */
	struct linked_files *linked; /* dump/linked.c */
	struct undo *undo;
	bool locks_seen;         /* some descriptor's fdinfo tells of a lock (/proc/locks takes 10 ms to read) */
	struct dump_task *tasks; /* all living tasks of the tree */
	size_t ntasks;
	void *kind_state[KIND_STATES];
};

/* A task that is being dumped; its threads stand still. */
struct dump_task {
	struct snap_task *t;
	int32_t pid;
	int pidfd;
	int proc_fd;          /* /proc/PID, for kern/proc.h */
	struct proc_stat stat;
	struct proc_status status;
	struct map *maps;
	size_t nmaps;
	struct dump_thread *threads; /* [0] is the leader */
	size_t nthreads;
	bool gpu_heir;        /* what it has of /dev/nvidia* is of no use to it: it came with a fork */
};

struct dump_thread {
	struct dump_task *task;
	int32_t tid;
	uint64_t sigmask;     /* what it had blocked when it was stopped, before thaw blocked all */
	struct proc_status status;
	struct ptrace_rseq rseq;
	CoreEntry *core;
};

/* One descriptor, seen from outside. */
struct fd_facts {
	int32_t pid;
	int32_t tfd;          /* its number in the task; -1: not from a table (a mapping's file, the cwd) */
	int fd;               /* our own descriptor of the same open file description (pidfd_getfd) */
	struct stat st;
	const char *link;     /* what /proc/PID/fd/N points to: "/a/b (deleted)", "socket:[12]", "anon_inode:[eventfd]" */
	const char *fdinfo;   /* the text of /proc/PID/fdinfo/N, "" without a table */
	uint32_t flags;       /* open flags as fcntl(F_GETFL) gives them */
	uint64_t pos;
	int32_t mnt_id;
	long fs_magic;        /* statfs f_type, 0 when unknown */
	bool gpu_heir;        /* of a task that is one */
};

/*
 * The id of the file entry for what f refers to: dumps it with the kind that
 * matches, or refuses it by name. Descriptors that share an open file
 * description get the same id (files.c finds that out before it calls a kind).
 */
int dumping_file(struct dumping *d, const struct fd_facts *f, uint32_t *ret_id) must_check;
/* The same for a path-like link of a task ("exe", "cwd", "root", "map_files/a-b"), opened O_PATH or read-only. */
int dumping_link(struct dumping *d, int32_t pid, const char *link, uint32_t *ret_id) must_check;
/*
 * The same for a regular file that a mapping names, if the name leads to that device and inode: 1; else 0, and
 * dumping_link() has to find out. Most do, and to look them up among a task's map_files takes three times as long.
 */
int dumping_named(struct dumping *d, int32_t pid, const char *name, dev_t dev, ino_t ino, uint32_t *ret_id) must_check;
/* A new file id for an entry that a kind adds by itself (the regular file behind a fifo). */
uint32_t dumping_next_id(struct dumping *d);
/* Remembers what to do if the dump fails (newest first). arg lives in the arena. */
void dumping_undo(struct dumping *d, void (*fn)(void *arg), void *arg);
/* F_GETOWN_EX and F_GETSIG of fd as a message. */
FownEntry *dumping_fown(struct dumping *d, int fd);

/* ---- restore --------------------------------------------------------------------------------- */

/* What all kinds see of a running restore. Runs in the engine, single-threaded until the tree exists. */
struct restoring {
	const struct opts *opts;
	const struct snap *snap;
	struct arena *a;
	int dirfd;                /* the image directory */
	struct prog_space *space;
	struct own own;           /* what tasks start with */
	struct rfiles *files;     /* restore/rfiles.c */
	struct undo *undo, *done;
	void *kind_state[KIND_STATES];
};

/*
 * The engine opens every file once; all tasks inherit all of them, at numbers
 * above every number the image uses, so a descriptor number here is the same
 * number in the task while its program runs. -EINVAL when the id is unknown.
 */
int restoring_fd(struct restoring *r, uint32_t file_id) must_check;
/* Adopts a descriptor that is no file entry (a shared memory object) into the same range. Returns its new number. */
int restoring_adopt(struct restoring *r, int fd) must_check;
/* Remembers what to do if the restore fails (newest first): put a file back, unlink a name. arg lives in the arena. */
void restoring_undo(struct restoring *r, void (*fn)(void *arg), void *arg);
/* Remembers what to do once the tree runs: remove what only the images needed. Nothing fails any more. */
void restoring_done(struct restoring *r, void (*fn)(void *arg), void *arg);

/* ---- the three tables ------------------------------------------------------------------------ */

struct kind_fd {
	const char *name;     /* as in messages: "eventfd", "unix socket" */
	FdTypes type;
	/* dump */
	bool (*match)(const struct fd_facts *f);
	/* e has type and id set; fills the member that belongs to the type. */
	int (*dump)(struct dumping *d, const struct fd_facts *f, FileEntry *e);
	/* Once per dump, when every descriptor and task is known: what needs the others (peers, epoll targets). */
	int (*finish)(struct dumping *d);
	/* restore */
	int rank;             /* open order: low first; 0 for what needs nothing else */
	int (*check)(struct restoring *r, const FileEntry *e);          /* before anything is created */
	int (*open)(struct restoring *r, const FileEntry *e);           /* returns a new descriptor */
	int (*link)(struct restoring *r, const FileEntry *e, int fd);   /* all are open now */
	/* In the first task that holds it, when its descriptors are in place (owner of signals, locks). */
	int (*emit)(struct restoring *r, const FileEntry *e, int tfd, struct prog *p);
	/* show: one line about it, e.g. "counter 7". */
	void (*describe)(const FileEntry *e, char *text, size_t len);
};

struct kind_mem {
	const char *name;
	bool (*match)(const struct map *m);
	/* v has start, end, prot, pgoff set. 1: the entry before covers it too, v is dropped. */
	int (*dump)(struct dumping *d, struct dump_task *t, const struct map *m, VmaEntry *v);
	/* restore: does this row map v? */
	bool (*owns)(const VmaEntry *v);
	/* Emits the mapping at its final address, writable if it is to be filled. */
	int (*map)(struct restoring *r, const struct snap_task *t, const VmaEntry *v, uint32_t prot, struct prog *p);
};

/*
 * Dump of a task kind asks first: ask() and ask_thread() emit system calls that
 * run in the target (all questions of all kinds in one go), and what they return
 * is handed to dump() and dump_thread() when the answers are in the records. dump() is called for all tasks first. The
 * other three run in several threads at once: they use nothing of d but its arena and options. Only one that may
 * ptrace the thread calls dump_thread() where traces_thread() says so.
 * Restore emits into the program of the leader and of each thread, in table order:
 *
 *   leader: session, children | memory | descriptors | emit() | threads start | emit_late() | emit_thread() | commit
 *   thread:                                                                     emit_thread()               | commit
 *
 * All signals are blocked until the sigreturn behind commit, which also sets the
 * signal mask, the alternate stack and the registers (arch/). Privileges last
 * until emit_thread() of task_creds, which therefore stands near the end of the table.
 */
struct kind_task {
	const char *name;
	void *(*ask)(struct dumping *d, struct dump_task *t, struct prog *p);
	int (*dump)(struct dumping *d, struct dump_task *t, const void *asked);
	void *(*ask_thread)(struct dumping *d, struct dump_thread *th, struct prog *p);
	int (*dump_thread)(struct dumping *d, struct dump_thread *th, const void *asked);
	bool (*traces_thread)(const struct dump_thread *th, const void *asked); /* NULL: never */
	int (*check)(struct restoring *r, const struct snap_task *t);
	int (*emit)(struct restoring *r, const struct snap_task *t, struct prog *p);
	/* The same, but when all threads of the task exist (what names a thread by its ID). */
	int (*emit_late)(struct restoring *r, const struct snap_task *t, struct prog *p);
	/* k: index into t->cores; runs in that thread itself, the leader included. */
	int (*emit_thread)(struct restoring *r, const struct snap_task *t, size_t k, struct prog *p);
};

extern const struct kind_fd *const kind_fds[];     /* ended by NULL; the first match wins */
extern const struct kind_mem *const kind_mems[];
extern const struct kind_task *const kind_tasks[];

const struct kind_fd *kind_fd_of(FdTypes type);
const struct kind_mem *kind_mem_of(const VmaEntry *v);

#endif
