/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one dump, shared by the files of dump/ and by nobody else. */
#ifndef DUMP_DT_H
#define DUMP_DT_H

#include "arch/x86_64/ledge.h"
#include "arch/x86_64/xsave.h"
#include "base/crew.h"
#include "base/undo.h"
#include "img/imgdir.h"
#include "kern/ptrace.h"
#include "kern/seize.h"
#include "kind/kind.h"
#include "dump/track.h"

/* What the engine keeps of each stopped thread: all it needs to let it go on as it was. */
struct dthread {
	struct dump_thread *th;
	struct dtask *task;
	uint8_t hand;                 /* whose tracee it is: hands_threads() */
	struct user_regs_struct regs; /* what it gets back */
	uint8_t *xsave;
	size_t xsave_len;
	bool in_blob;                 /* its registers are ours at the moment */
	bool sent;                    /* to the blob, and counted there */
	bool running;                 /* and it was let go with them */
	int lost;                     /* -errno: it could not be put back */
	const char *why;              /* with this trail */
	struct prog_space space;      /* its part of the blob's mapping */
	uint64_t stack_va;            /* in it */
	struct prog prog;
	uint64_t frame_va;
	void **asked;                 /* by kind_tasks[] index: what ask_thread() returned */
};

/* The flags of a task's mappings (struct map: vm_flags and what follows it), which outside.c may leave for later. */
enum flags { FLAGS_READ, FLAGS_BESIDE_QUESTIONS, FLAGS_BESIDE_PAGES, FLAGS_TAKEN /* into the entries, too */ };

/* A task's share of the engine: the blob in it and its threads. */
struct dtask {
	struct dump_task *t;
	struct dthread *threads;
	struct ledge ledge;   /* where its leader makes calls for us */
	struct ledge mapping; /* where it has made the one that maps the blob */
	uint64_t blob_va;     /* the blob's mapping in it, 0: none */
	uint64_t blob_len;
	void *map;            /* the same memory in the engine */
	struct prog_space space; /* all of it */
	struct pie_board *board;
	void **asked;         /* by kind_tasks[] index: what ask() returned */
	bool unclean;         /* leftover.c: something had to stay in it */
	enum flags flags;
	uint64_t ns[PROC_NSES]; /* where it lives, by inode number */
	struct track track;
};

/* All living threads and tasks, in order, and who traces each (a task: its leader). */
struct hands {
	struct dthread **thread;
	uint8_t *of_thread, *of_task;
	size_t n_threads, n_tasks;
};

struct dump {
	struct dumping kinds; /* what kinds see */
	struct snap *snap;
	struct undo undo;
	struct keeper keeper;   /* of --track-mem */
	const char *base_image; /* the run ID of the parent images, NULL: none, or they do not say */
	bool memory_only;       /* a pre-dump */
	bool stats;             /* they were written, or nearly */
	bool tracks;            /* --track-mem, and the tree goes on */
	struct collect_object *objects; /* pages.c: tasks, then shared memory objects */
	size_t nobjects;
	struct seize *seized;
	struct gpu_dump *gpu; /* gpu_dump.h; NULL before that stage */
	struct gpu_ledger *ledger;
	struct dtask *tasks;  /* as kinds.tasks */
	struct hands hands;
	struct crew *flags_crew; /* outside.c: reads flags_now */
	enum flags flags_now;
	struct crew *cores_crew; /* writes the images of threads */
	struct xsave_layout xsave;
	uint64_t namespaces[PROC_NSES]; /* where every task must be, by inode number */
	uint64_t start_ns, frozen_ns, thawed_ns, released_ns; /* thawed: all stand */
	uint64_t memory_ns;   /* time spent on pages */
	_Atomic uint64_t bytes_done;
	uint64_t bytes_total;
	uint64_t pages_read, pages_written, shpages_read, shpages_written; /* of tasks; of shared memory objects */
	uint64_t pages_parent;  /* left to the parent images */
};

/* hands.c: calls fn for each thread, or task, in the OS thread that may ptrace it. They all work side by side. */
typedef int hand_thread_fn(struct dump *d, struct dthread *th, struct arena *a);
typedef int hand_task_fn(struct dump *d, struct dtask *k, struct arena *a);
void hands_list(struct dump *d);
int hands_threads(struct dump *d, hand_thread_fn *fn) must_check;
int hands_tasks(struct dump *d, hand_task_fn *fn) must_check;
/* For each thread, in order, but by a crew: what needs no ptrace. */
struct crew *hands_crew(struct dump *d, hand_thread_fn *fn);

/* outside.c: has /proc read, for all that facts.c has listed: status, mappings, namespaces. */
struct crew *outside_look(struct dump *d);
/* ... or once more for this task, which is not what it was. */
int outside_look_again(struct dump *d, struct dtask *k, struct arena *a) must_check;
/* ... and then the flags that were left for `when`: until they are waited for, or not wanted any more. */
int outside_look_on(struct dump *d, enum flags when) must_check;
int outside_seen(struct dump *d) must_check;
void outside_cancel(struct dump *d);
/* All that were left for later. */
int outside_see_all(struct dump *d) must_check;

/* facts.c: tasks, threads, registers, mappings as the kernel shows them. */
int facts_collect(struct dump *d) must_check;
/* What of this is seen before anything is refused; what a killed thaw has left is gone then (leftover.h). */
int facts_see(struct dump *d) must_check;
/* What ptrace shows of a thread. */
int facts_held(struct dump *d, struct dthread *th, struct arena *a) must_check;
/* A thread's registers as an image holds them. */
int facts_registers(const struct dump *d, const struct dthread *k, struct arena *a) must_check;
/* Before the tree goes on: calls that our stop has ended with EINTR start again. */
void facts_begin_again(struct dump *d);
void facts_done(struct dump *d);

/* namespaces.c: where tasks live, and the ids of what they share. init before any task. */
int namespaces_init(struct dump *d) must_check;
int namespaces_dump(struct dump *d, const struct dtask *k) must_check;
/* The ids of thaw itself, which the inventory tells. */
TaskKobjIdsEntry *namespaces_outside(struct dump *d);

/* remote.c: the blob goes into a task, runs in one thread, and all threads of all tasks are put back. */
int remote_enter(struct dtask *k, struct arena *a) must_check;
/* Room for what a thread is asked. Its pieces may be filled side by side, by anybody. */
void remote_room(struct dthread *th, struct arena *a);
int remote_start(struct dthread *th) must_check;
int remote_put_back(struct dump *d) must_check;
/* Unmaps what does not belong into it; its blob is not there. */
int remote_unmap(struct dtask *k, uint64_t va, uint64_t len) must_check;
/* A new userfaultfd of the task's memory, as our descriptor; its blob must not run. Leave afterwards. */
int remote_userfaultfd(struct dtask *k) must_check;
/* Puts every thread of all tasks back and takes the blobs out; safe at any time, repeatedly. */
void remote_leave(struct dump *d);

/* questions.c: what has to be asked from inside. All threads are in the blob then, with their answers. */
int questions_ask(struct dump *d) must_check;
/* Whether this thread could answer. */
int questions_answered(const struct dthread *th) must_check;

/* nature.c: what the task kinds make of the answers. All threads have their own registers again. */
int nature_dump(struct dump *d) must_check;

/* files.c: descriptor tables. init before any kind is called. */
int files_init(struct dump *d) must_check;
/* What f->fd is, and on which file system. */
int files_look(struct fd_facts *f) must_check;
int files_dump(struct dump *d) must_check;
void files_done(struct dump *d);

/* mappings.c: VmaEntry of every mapping; its flags, and what their refusal is, when these are there. */
int mappings_dump(struct dump *d) must_check;
int mappings_flags(struct dump *d) must_check;

/* pages.c: contents of memory: which there are (the tree stands), the storing of them, the map of what was stored. */
int pages_find(struct dump *d) must_check;
int pages_dump(struct dump *d) must_check;
void pages_map(struct dump *d);
void pages_done(void *dump);

/* precopy.c: the same for a pre-dump, as its stages: the first while the tree stands, the second while it runs. */
int precopy_find(void *dump) must_check;
int precopy_copy(void *dump) must_check;

/* sharing.c: which of them are the parent's, too. */
int sharing_dump(struct dump *d) must_check;

#endif
