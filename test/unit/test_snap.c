/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: images written by CRIU 4.2 load, pass and save to the same messages;
 * each damage that snap_load() or snap_check() looks for is done alone and its
 * sentence seen; bits tipped over anywhere end without a crash.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/show.h"
#include "img/imgdir.h"
#include "snap/snap.h"

static char top[64]; /* holds mem, threads, tree, fds */

static int run(const char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	return pid < 0 || waitpid(pid, &status, 0) < 0 || status;
}

/* The tests start in the repository, or the build directory is in it. */
static int fixtures_find(char *path, size_t len)
{
	static const char rel[] = "test/golden/criu-4.2/images.tar.gz";
	char exe[256], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	snprintf(path, len, "%s", rel);
	exe[n < 0 ? 0 : n] = 0;
	while (access(path, R_OK) && (slash = strrchr(exe, '/'))) {
		*slash = 0;
		snprintf(path, len, "%s/%s", exe, rel);
	}
	return access(path, R_OK);
}

static int group_setup(void **state)
{
	char tgz[512];

	(void)state;
	strcpy(top, "/tmp/thaw-snap-XXXXXX");
	return !mkdtemp(top) || fixtures_find(tgz, sizeof(tgz)) ||
	       run((const char *[]){ "tar", "-xzf", tgz, "-C", top, NULL });
}

static int group_teardown(void **state)
{
	(void)state;
	return run((const char *[]){ "rm", "-rf", top, NULL });
}

static int dir_open(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static struct snap *load(const char *name)
{
	auto_close int fd = dir_open(name);
	struct snap *s = snap_new();

	if (snap_load(s, fd) < 0)
		fail_msg("%s: %s", name, err_text());
	return s;
}

/* ---- what is right ---------------------------------------------------------------------------- */

static void test_fixtures(void **state)
{
	static const struct {
		const char *name;
		size_t tasks, cores, shmem, files;
	} want[] = {
		{ "mem", 1, 1, 2, 9 },
		{ "threads", 1, 9, 0, 5 },
		{ "tree", 4, 4, 1, 14 },
		{ "fds", 1, 1, 0, 17 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		struct snap *s = load(want[i].name);
		size_t cores = 0;

		for (size_t k = 0; k < s->ntasks; k++) {
			cores += s->tasks[k]->ncores;
			assert_int_equal(s->tasks[k]->index, k);
		}
		assert_int_equal(s->ntasks, want[i].tasks);
		assert_int_equal(cores, want[i].cores);
		assert_int_equal(s->nshmem, want[i].shmem);
		assert_int_equal(s->list[IMG_FILES].n, want[i].files);
		if (snap_check(s) < 0)
			fail_msg("%s: %s", want[i].name, err_text());
		snap_free(s);
	}
}

static void test_tree(void **state)
{
	struct snap *s = load("tree");
	struct snap_task *z = snap_task(s, 23003);

	(void)state;
	assert_non_null(z);
	assert_true(z->zombie);
	assert_int_equal(z->pst->n_threads, 1);
	assert_int_equal(z->pst->threads[0], 23003);
	assert_string_equal(snap_comm(z), "subject");
	assert_null(s->tasks[0]->parent);
	assert_ptr_equal(snap_task(s, 23005)->parent, snap_task(s, 23004));
	assert_int_equal(s->tasks[0]->nchildren, 2);
	assert_null(snap_task(s, 1));
	assert_non_null(snap_file(s, 14));
	assert_null(snap_file(s, 99));
	assert_non_null(snap_shmem(s, 14167));
	assert_int_equal(snap_pages_bytes(&snap_shmem(s, 14167)->pages), 4096);
	snap_free(s);
}

/* Saved images have the same bytes; only the zombie's thread list is mended and the inventory signed. */
static void test_save(void **state)
{
	static const char *const names[] = { "mem", "threads", "tree", "fds" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct snap *s = load(names[i]);
		auto_close int from = dir_open(names[i]);
		char path[128];
		struct imgdir_file *f;
		struct imgdir *dir;
		size_t n;

		snprintf(path, sizeof(path), "%s/saved-%s", top, names[i]);
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(imgdir_open(AT_FDCWD, path, s->a, &dir), 0);
		assert_int_equal(imgdir_begin(dir), 0);
		assert_int_equal(snap_save(s, dir), 0);
		assert_int_equal(imgdir_commit(dir, s->inventory), 0);
		assert_string_equal(s->inventory->thaw_version, THAW_VERSION);
		assert_int_equal(imgdir_list(dir, s->a, &f, &n), 0);
		assert_true(n > 10);
		for (size_t k = 0; k < n; k++) {
			auto_free char *a = NULL, *b = NULL;
			char name[IMG_NAME_LEN];
			ssize_t len;

			img_name(name, f[k].type->id, f[k].num);
			len = io_slurp(dir->dirfd, name, &a);
			if (f[k].type->id == IMG_INVENTORY || (f[k].type->id == IMG_PSTREE && s->ntasks > 1))
				continue;
			assert_int_equal(len, io_slurp(from, name, &b));
			assert_memory_equal(a, b, (size_t)len);
		}
		imgdir_close(dir);
		snap_free(s);
	}
}

/* More entries than the first room, and lists that are filled by hand. */
static void test_add(void **state)
{
	struct snap *s = snap_new();

	(void)state;
	for (uint32_t i = 1; i <= 1000; i++) {
		FileEntry *e = arena_msg(s->a, file_entry, FileEntry);

		e->id = i;
		snap_add(s, IMG_FILES, &e->base);
		snap_add_payload(s, IMG_PIPES_DATA, &arena_msg(s->a, pipe_data_entry, PipeDataEntry)->base, "x", 1);
	}
	assert_int_equal(s->list[IMG_FILES].n, 1000);
	for (uint32_t i = 1; i <= 1000; i++) {
		assert_ptr_equal(snap_file(s, i), s->list[IMG_FILES].v[i - 1].msg);
		assert_int_equal(s->list[IMG_PIPES_DATA].v[i - 1].payload_len, 1);
	}
	snap_free(s);
}

/* ---- damage to the model ---------------------------------------------------------------------- */

static VmaEntry *vma(struct snap *s, size_t i)
{
	return s->tasks[0]->mm->vmas[i];
}

static void flip_mtype(struct snap *s) { s->tasks[0]->cores[0]->mtype = CORE_ENTRY__MARCH__AARCH64; }
static void flip_compat(struct snap *s)
{
	UserX86RegsEntry *r = s->tasks[0]->cores[0]->thread_info->gpregs;

	r->has_mode = true;
	r->mode = USER_X86_REGS_MODE__COMPAT;
}
static void flip_cs(struct snap *s) { s->tasks[0]->cores[0]->thread_info->gpregs->cs = 0x23; }
static void flip_noregs(struct snap *s) { s->tasks[0]->cores[0]->thread_info = NULL; }
static void flip_state(struct snap *s) { s->tasks[0]->cores[0]->tc->task_state = 9; }
static void flip_seccomp(struct snap *s)
{
	ThreadCoreEntry *t = s->tasks[0]->cores[0]->thread_core;

	t->has_seccomp_mode = true;
	t->seccomp_mode = SECCOMP_MODE__filter;
}
static void flip_seccomp_list(struct snap *s)
{
	((SeccompEntry *)s->list[IMG_SECCOMP].v[0].msg)->n_seccomp_filters = 1;
}
static void flip_plugin(struct snap *s)
{
	static char name[] = "amdgpu_plugin", *names[] = { name };

	s->inventory->plugins_entry->plugins = names;
	s->inventory->plugins_entry->n_plugins = 1;
}
static void flip_pid(struct snap *s) { s->tasks[0]->pst->threads[0] = 4194305; }
static void flip_tid(struct snap *s) { s->tasks[0]->pst->threads[3] = 0; }
static void flip_sid(struct snap *s) { s->tasks[0]->pst->sid = 1u << 31; }
static void flip_pgid(struct snap *s) { s->tasks[0]->pst->pgid = 1u << 31; }
static void flip_dead_root(struct snap *s) { s->tasks[0]->zombie = true; }
static void flip_dead_parent(struct snap *s) { snap_task(s, 23005)->parent = snap_task(s, 23003); }

static void flip_ns(struct snap *s) { s->tasks[2]->ids->net_ns_id = 77; }
static void flip_vm(struct snap *s) { s->tasks[2]->ids->vm_id = s->tasks[0]->ids->vm_id; }
static void flip_fdtable(struct snap *s) { s->tasks[2]->ids->files_id = s->tasks[0]->ids->files_id; }
static void flip_fs(struct snap *s) { s->tasks[2]->ids->fs_id = s->tasks[0]->ids->fs_id; }
static void flip_sighand(struct snap *s) { s->tasks[2]->ids->sighand_id = s->tasks[0]->ids->sighand_id; }

static void flip_order(struct snap *s) { vma(s, 1)->start = vma(s, 0)->start; }
static void flip_unaligned(struct snap *s) { vma(s, 1)->end -= 1; }
static void flip_pgoff(struct snap *s) { vma(s, 1)->pgoff += 8; }
static void flip_empty(struct snap *s) { vma(s, 1)->end = vma(s, 1)->start; }
static void flip_kernel(struct snap *s)
{
	VmaEntry *v = vma(s, s->tasks[0]->mm->n_vmas - 2);

	v->end = v->start | 1ull << 47;
}
static void flip_vsyscall(struct snap *s) { vma(s, 0)->status |= VMA_AREA_VSYSCALL; }
static void flip_vstatus(struct snap *s) { vma(s, 0)->status |= 1u << 30; }
static void flip_twokinds(struct snap *s) { vma(s, 0)->status |= VMA_ANON_PRIVATE; }
static void flip_prot(struct snap *s) { vma(s, 0)->prot |= 8; }
static void flip_shared(struct snap *s) { vma(s, 0)->flags ^= MAP_PRIVATE | MAP_SHARED; }
static void flip_hugetlb(struct snap *s) { vma(s, 5)->flags |= MAP_HUGETLB; }
static void flip_advice(struct snap *s)
{
	vma(s, 5)->has_madv = true;
	vma(s, 5)->madv = 1 << MADV_DONTNEED;
}
static void flip_vmafile(struct snap *s) { vma(s, 0)->shmid = 12345; }
static void flip_vmafile64(struct snap *s) { vma(s, 0)->shmid |= 1ull << 40; }

static void add_guard(struct snap *s, uint64_t start, uint64_t end)
{
	MmEntry *mm = s->tasks[0]->mm;
	VmaEntry **v = arena_alloc(s->a, (mm->n_vmas + 1) * sizeof(*v)), *g = arena_msg(s->a, vma_entry, VmaEntry);

	memcpy(v, mm->vmas, mm->n_vmas * sizeof(*v));
	g->start = start;
	g->end = end;
	g->status = VMA_AREA_GUARD;
	v[mm->n_vmas++] = g;
	mm->vmas = v;
}
static void flip_guard(struct snap *s) { add_guard(s, 0x10000, 0x11000); }
static void flip_guard_empty(struct snap *s) { add_guard(s, 0x11000, 0x11000); }

static PagemapEntry *pages_run(struct snap *s, size_t i)
{
	return s->tasks[0]->pages.runs[i];
}
static void flip_parent(struct snap *s) { pages_run(s, 0)->flags |= PE_PARENT; }
static void flip_lazy(struct snap *s) { pages_run(s, 0)->flags = PE_LAZY; }
static void flip_runaddr(struct snap *s) { pages_run(s, 0)->vaddr += 1; }
static void flip_runlen(struct snap *s) { pages_run(s, 0)->nr_pages = 0; }
static void flip_runhuge(struct snap *s) { pages_run(s, 0)->nr_pages = UINT64_MAX / 2; }
static void flip_runorder(struct snap *s) { pages_run(s, 1)->vaddr = pages_run(s, 0)->vaddr; }
static void flip_runplace(struct snap *s) { pages_run(s, 0)->vaddr = 0x1000; }
static void flip_runmore(struct snap *s) { s->tasks[0]->pages.file_len -= 4096; }
static void flip_runless(struct snap *s) { s->tasks[0]->pages.file_len += 1; }
static void flip_pagesid(struct snap *s) { s->tasks[0]->pages.pages_id = s->shmem[0]->pages.pages_id; }
static void flip_shmem(struct snap *s) { ((MemfdInodeEntry *)s->list[IMG_MEMFD].v[0].msg)->size = 4096; }
static void flip_shmemlen(struct snap *s) { s->shmem[0]->pages.file_len = 0; }

static FileEntry *file(struct snap *s, size_t i)
{
	return (FileEntry *)s->list[IMG_FILES].v[i].msg;
}
static void flip_twice(struct snap *s) { snap_add(s, IMG_FILES, &file(s, 0)->base); file(s, 1)->id = file(s, 0)->id; }
static void flip_member(struct snap *s) { file(s, 0)->reg = NULL; }
static void flip_type(struct snap *s) { file(s, 0)->type = (FdTypes)1234; }
static void flip_exe(struct snap *s) { s->tasks[0]->mm->exe_file_id = 12345; }
static void flip_cwd(struct snap *s) { s->tasks[0]->fs->cwd_id = 12345; }
static void flip_root(struct snap *s) { s->tasks[0]->fs->root_id = 12345; }
static void flip_fd(struct snap *s) { s->tasks[0]->fds[1]->fd = 0; }
static void flip_fdhuge(struct snap *s) { s->tasks[0]->fds[1]->fd = 1u << 31; }
static void flip_fdid(struct snap *s) { s->tasks[0]->fds[1]->id = 12345; }
static void flip_fdtype(struct snap *s) { s->tasks[0]->fds[1]->type = FD_TYPES__PIPE; }

static const struct {
	const char *fixture;
	void (*flip)(struct snap *s);
	int errnum;
	const char *sentence;
} flips[] = {
	{ "mem", flip_mtype, ENOTSUP, "task 21001 (subject): core-21001.img: its registers are those of another architecture" },
	{ "mem", flip_compat, ENOTSUP, "32-bit tasks are not supported yet" },
	{ "mem", flip_cs, ENOTSUP, "32-bit tasks are not supported yet" },
	{ "mem", flip_noregs, EINVAL, "core-21001.img: has no registers" },
	{ "mem", flip_state, ENOTSUP, "core-21001.img: task state 9 is not supported yet" },
	{ "mem", flip_seccomp, ENOTSUP, "seccomp is not supported yet" },
	{ "mem", flip_seccomp_list, ENOTSUP, "seccomp.img: seccomp filters are not supported yet" },
	{ "mem", flip_plugin, ENOTSUP, "inventory.img: the image needs the plugin amdgpu_plugin" },
	{ "mem", flip_pid, EINVAL, "PID 4194305 is none" },
	{ "threads", flip_tid, EINVAL, "thread ID 0 is none" },
	{ "mem", flip_sid, EINVAL, "session 2147483648 is none" },
	{ "mem", flip_pgid, EINVAL, "process group 2147483648 is none" },
	{ "mem", flip_dead_root, EINVAL, "the root of the tree is dead" },
	{ "tree", flip_dead_parent, EINVAL, "task 23005 (subject): pstree.img: its parent 23004 is dead" },
	{ "tree", flip_ns, ENOTSUP, "task 23004 (subject) is in a namespace of its own (net): not supported yet" },
	{ "tree", flip_vm, ENOTSUP, "task 23004 (subject) shares its memory (CLONE_VM) with task 23001" },
	{ "tree", flip_fdtable, ENOTSUP, "shares its descriptor table (CLONE_FILES) with task 23001" },
	{ "tree", flip_fs, ENOTSUP, "shares its root and working directory (CLONE_FS) with task 23001" },
	{ "tree", flip_sighand, ENOTSUP, "shares its signal handlers (CLONE_SIGHAND) with task 23001" },
	{ "mem", flip_order, EINVAL, "mapping 400000-48e000: is not behind the mapping before it, 400000-401000" },
	{ "mem", flip_unaligned, EINVAL, "mapping 401000-48dfff: is not made of whole pages" },
	{ "mem", flip_pgoff, EINVAL, "mapping 401000-48e000: is not made of whole pages" },
	{ "mem", flip_empty, EINVAL, "mapping 401000-401000: ends before it starts" },
	{ "mem", flip_kernel, EINVAL, "is not within user space" },
	{ "mem", flip_vsyscall, EINVAL, "is not within user space" },
	{ "mem", flip_vstatus, ENOTSUP, "mappings of status 0x40000041 are not supported yet" },
	{ "mem", flip_twokinds, EINVAL, "is said to be of several kinds at once" },
	{ "mem", flip_prot, EINVAL, "protection 0x9 is none" },
	{ "mem", flip_shared, EINVAL, "is said to be private with flags 0x1" },
	{ "mem", flip_hugetlb, ENOTSUP, "huge pages (hugetlb) are not supported yet" },
	{ "mem", flip_advice, EINVAL, "advice 0x10 is not of the kind that lasts" },
	{ "mem", flip_vmafile, EINVAL, "its file: file id 12345 is not in files.img" },
	{ "mem", flip_vmafile64, EINVAL, "its file: file id 1099511627777 is not in files.img" },
	{ "mem", flip_guard, EINVAL, "guard pages 10000-11000: are not within mappings" },
	{ "mem", flip_guard_empty, EINVAL, "guard pages 11000-11000: ends before it starts" },
	{ "mem", flip_parent, EINVAL, "are said to be here and in a parent image" },
	{ "mem", flip_lazy, ENOTSUP, "pages that are kept elsewhere (lazy-pages) are not supported yet" },
	{ "mem", flip_runaddr, EINVAL, "are no run of pages" },
	{ "mem", flip_runlen, EINVAL, "0 pages at" },
	{ "mem", flip_runhuge, EINVAL, "are not within user space" },
	{ "mem", flip_runorder, EINVAL, "overlap others" },
	{ "mem", flip_runplace, EINVAL, "is not within private mappings" },
	{ "mem", flip_runmore, EINVAL, "has 39206912 bytes, its page map needs 39211008" },
	{ "mem", flip_runless, EINVAL, "has 39211009 bytes, its page map needs 39211008" },
	{ "mem", flip_pagesid, EINVAL, "two page maps claim it" },
	{ "mem", flip_shmem, EINVAL, "has pages up to 1048576, the object has 4096 bytes" },
	{ "mem", flip_shmemlen, EINVAL, "has 0 bytes, its page map needs 1048576" },
	{ "mem", flip_twice, EINVAL, "files.img: file id 1 is there twice" },
	{ "mem", flip_member, EINVAL, "files.img: file 1 is said to be of type REG and is not described" },
	{ "mem", flip_type, ENOTSUP, "files of type 1234 are not supported yet" },
	{ "mem", flip_exe, EINVAL, "program file: file id 12345 is not in files.img" },
	{ "mem", flip_cwd, EINVAL, "working directory: file id 12345 is not in files.img" },
	{ "mem", flip_root, EINVAL, "root directory: file id 12345 is not in files.img" },
	{ "fds", flip_fd, EINVAL, "fd 0: is there twice" },
	{ "fds", flip_fdhuge, EINVAL, "fd 2147483648: is no descriptor number" },
	{ "fds", flip_fdid, EINVAL, "fd 1: file id 12345 is not in files.img" },
	{ "fds", flip_fdtype, EINVAL, "fd 1: file 3 is of type 2 in the descriptor table, of type 1 in files.img" },
};

static void test_check(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(flips); i++) {
		struct snap *s = load(flips[i].fixture);
		int r;

		flips[i].flip(s);
		r = snap_check(s);
		if (r != -flips[i].errnum || !strstr(err_text(), flips[i].sentence))
			fail_msg("flip %zu: %d \"%s\", expected %d \"%s\"", i, r, r < 0 ? err_text() : "",
				 -flips[i].errnum, flips[i].sentence);
		snap_free(s);
	}
}

/* ---- damage to files -------------------------------------------------------------------------- */

/* A directory like name whose files are links; what is replaced in it stays its own. */
static int copy_open(const char *name, char path[static 128])
{
	auto_close int from = dir_open(name);
	struct arena *a = arena_new();
	struct imgdir_file *f;
	struct imgdir *dir;
	char src[128];
	size_t n;
	int fd;

	snprintf(src, sizeof(src), "%s/%s", top, name);
	snprintf(path, 128, "%s/copy-XXXXXX", top);
	assert_non_null(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(imgdir_open(AT_FDCWD, src, a, &dir), 0);
	assert_int_equal(imgdir_list(dir, a, &f, &n), 0);
	for (size_t i = 0; i < n; i++) {
		char file_name[IMG_NAME_LEN];

		img_name(file_name, f[i].type->id, f[i].num);
		assert_int_equal(linkat(from, file_name, fd, file_name, 0), 0);
	}
	imgdir_close(dir);
	arena_free(a);
	return fd;
}

static void copy_remove(int fd, const char *path)
{
	close(fd);
	assert_int_equal(run((const char *[]){ "rm", "-rf", path, NULL }), 0);
}

struct tree_row {
	uint32_t pid, ppid;
};

static void write_tree(int fd, struct arena *a, const struct tree_row *rows, size_t n)
{
	struct img_msg *v = arena_alloc(a, n * sizeof(*v) + 1);

	for (size_t i = 0; i < n; i++) {
		PstreeEntry *e = arena_msg(a, pstree_entry, PstreeEntry);

		e->pid = rows[i].pid;
		e->ppid = rows[i].ppid;
		e->pgid = e->sid = 23001;
		v[i].msg = &e->base;
	}
	assert_int_equal(img_write_all(fd, IMG_PSTREE, 0, v, n), 0);
}

static int loaded(int fd, struct snap **ret)
{
	*ret = snap_new();
	return snap_load(*ret, fd);
}

/* Children in front of their parents, and threads that the image leaves out. */
static void test_order(void **state)
{
	static const struct tree_row rows[] = { { 23005, 23004 }, { 23003, 23001 }, { 23004, 23001 }, { 23001, 0 } };
	char path[128];
	int fd = copy_open("tree", path);
	struct snap *s;

	(void)state;
	s = snap_new();
	write_tree(fd, s->a, rows, ARRAY_LEN(rows));
	assert_int_equal(snap_load(s, fd), 0);
	assert_int_equal(snap_check(s), 0);
	assert_int_equal(s->ntasks, 4);
	for (size_t i = 1; i < 4; i++)
		assert_true(s->tasks[i]->parent->index < s->tasks[i]->index);
	assert_int_equal(s->tasks[0]->pst->n_threads, 1);
	snap_free(s);
	copy_remove(fd, path);
}

static void test_bad_trees(void **state)
{
	static const struct {
		struct tree_row rows[4];
		size_t n;
		const char *sentence;
	} bad[] = {
		{ { { 23001, 0 }, { 23004, 0 } }, 2, "pstree.img: tasks 23001 and 23004 both have no parent" },
		{ { { 23001, 0 }, { 23004, 9 } }, 2, "pstree.img: task 23004: its parent 9 is not in the image" },
		{ { { 23001, 0 }, { 23001, 0 } }, 2, "pstree.img: task 23001: ID 23001 is already that of task 23001" },
		{ { { 23001, 0 }, { 23004, 23005 }, { 23005, 23004 } }, 3, "pstree.img: task 23004 is its own ancestor" },
		{ { { 23001, 0 }, { 23004, 23004 } }, 2, "pstree.img: task 23004 is its own ancestor" },
		{ { { 23004, 23005 }, { 23005, 23004 } }, 2, "there is no root" },
		{ { { 0, 0 } }, 0, "pstree.img: names no task" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char path[128];
		int fd = copy_open("tree", path);
		struct snap *s = snap_new();

		write_tree(fd, s->a, bad[i].rows, bad[i].n);
		assert_true(snap_load(s, fd) < 0);
		assert_non_null(strstr(err_text(), bad[i].sentence));
		snap_free(s);
		copy_remove(fd, path);
	}
}

/* Every file but those that may be absent is missed. */
static void test_missing(void **state)
{
	static const char *const needed[] = { "inventory.img", "pstree.img", "core-23001.img", "core-23003.img", "ids-23001.img",
					      "mm-23001.img", "fs-23001.img", "fdinfo-2.img", "pagemap-23001.img",
					      "pages-2.img", "pagemap-shmem-14167.img", "pages-1.img" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		char path[128];
		int fd = copy_open("tree", path);
		struct snap *s;

		assert_int_equal(unlinkat(fd, needed[i], 0), 0);
		assert_int_equal(loaded(fd, &s), -ENOENT);
		assert_non_null(strstr(err_text(), needed[i]));
		snap_free(s);
		copy_remove(fd, path);
	}
}

static void test_version(void **state)
{
	char path[128];
	int fd = copy_open("mem", path);
	struct snap *s = load("mem");

	(void)state;
	s->inventory->img_version = 3;
	assert_int_equal(img_write_one(fd, IMG_INVENTORY, 0, &s->inventory->base), 0);
	snap_free(s);
	assert_int_equal(loaded(fd, &s), -ENOTSUP);
	assert_non_null(strstr(err_text(), "inventory.img: images of version 3 are not supported"));
	snap_free(s);
	copy_remove(fd, path);
}

/* As before 4.2: counts in the other field, no flags, ids in the core, fdinfo by PID. */
static void test_older(void **state)
{
	char path[128];
	int fd = copy_open("fds", path);
	struct snap *s = load("fds");
	struct snap_task *t = s->tasks[0];
	struct img_msg *v = arena_alloc(s->a, (t->pages.nruns + 1) * sizeof(*v));
	PagemapHead *head = arena_msg(s->a, pagemap_head, PagemapHead);
	struct img_msgs fdinfo;

	(void)state;
	head->pages_id = t->pages.pages_id;
	v[0].msg = &head->base;
	for (size_t i = 0; i < t->pages.nruns; i++) {
		PagemapEntry *e = t->pages.runs[i];

		e->compat_nr_pages = (uint32_t)e->nr_pages;
		e->has_nr_pages = e->has_flags = false;
		v[i + 1].msg = &e->base;
	}
	assert_int_equal(img_write_all(fd, IMG_PAGEMAP, 24001, v, t->pages.nruns + 1), 0);
	t->cores[0]->ids = t->ids;
	assert_int_equal(img_write_one(fd, IMG_CORE, 24001, &t->cores[0]->base), 0);
	assert_int_equal(unlinkat(fd, "ids-24001.img", 0), 0);
	s->inventory->fdinfo_per_id = false;
	assert_int_equal(img_write_one(fd, IMG_INVENTORY, 0, &s->inventory->base), 0);
	assert_int_equal(img_read_all(fd, IMG_FDINFO, 2, s->a, &fdinfo), 0);
	assert_int_equal(img_write_all(fd, IMG_FDINFO, 24001, fdinfo.v, fdinfo.n), 0);
	assert_int_equal(unlinkat(fd, "fdinfo-2.img", 0), 0);
	snap_free(s);

	assert_int_equal(loaded(fd, &s), 0);
	assert_int_equal(snap_check(s), 0);
	assert_int_equal(s->tasks[0]->nfds, 15);
	assert_int_equal(snap_pages_bytes(&s->tasks[0]->pages), 61440);
	snap_free(s);
	copy_remove(fd, path);
}

/* ---- anything at all -------------------------------------------------------------------------- */

static void tip_bit(int dirfd, const char *name, size_t len, uint32_t *seed)
{
	auto_close int fd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
	uint8_t byte = 0;
	off_t at;

	*seed = *seed * 1664525 + 1013904223;
	at = (off_t)((*seed >> 8) % len);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= (uint8_t)(1u << (*seed >> 29));
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* Whatever show_run() prints of it is not of interest here. */
static void show_quietly(const char *path)
{
	auto_close int null = open("/dev/null", O_WRONLY | O_CLOEXEC), out = dup(STDOUT_FILENO);
	struct opts o = opts_default();

	o.images_dir = path;
	fflush(stdout);
	dup2(null, STDOUT_FILENO);
	for (int json = 0; json < 2; json++) {
		o.json = json;
		if (show_run(&o) < 0)
			assert_true(*err_text());
	}
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
}

static void test_bits(void **state)
{
	static const char *const names[] = { "tree", "fds", "threads", "mem" };
	uint32_t seed = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct arena *a = arena_new();
		struct imgdir_file *f;
		struct imgdir *dir;
		char src[128];
		size_t n;

		snprintf(src, sizeof(src), "%s/%s", top, names[i]);
		assert_int_equal(imgdir_open(AT_FDCWD, src, a, &dir), 0);
		assert_int_equal(imgdir_list(dir, a, &f, &n), 0);
		for (size_t k = 0; k < n; k++) {
			char name[IMG_NAME_LEN], path[128];
			auto_free char *whole = NULL;
			int fd;

			if (!f[k].type->desc)
				continue;
			fd = copy_open(names[i], path);
			img_name(name, f[k].type->id, f[k].num);
			assert_true(io_slurp(dir->dirfd, name, &whole) >= 0);
			for (int turn = 0; turn < 12; turn++) {
				auto_close int out = -1;

				unlinkat(fd, name, 0);
				out = openat(fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
				assert_int_equal(io_write(out, whole, f[k].len), 0);
				tip_bit(fd, name, f[k].len, &seed);
				show_quietly(path);
			}
			copy_remove(fd, path);
		}
		imgdir_close(dir);
		arena_free(a);
	}
}

/* One image alone, and what is none. */
static void test_show(void **state)
{
	struct opts o = opts_default();
	char path[160];

	(void)state;
	snprintf(path, sizeof(path), "%s/mem", top);
	show_quietly(path);
	snprintf(path, sizeof(path), "%s/mem/core-21001.img", top);
	show_quietly(path);
	o.images_dir = top;
	assert_true(show_run(&o) < 0);
	assert_non_null(strstr(err_text(), "is not an image directory of CRIU or thaw: it has no inventory.img"));
	o.images_dir = "/proc/self/exe";
	assert_true(show_run(&o) < 0);
	assert_non_null(strstr(err_text(), "is neither an image directory nor named as an image"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixtures),  cmocka_unit_test(test_tree),    cmocka_unit_test(test_save),
		cmocka_unit_test(test_add),       cmocka_unit_test(test_check),   cmocka_unit_test(test_order),
		cmocka_unit_test(test_bad_trees), cmocka_unit_test(test_missing), cmocka_unit_test(test_version),
		cmocka_unit_test(test_older),     cmocka_unit_test(test_show),    cmocka_unit_test(test_bits),
	};
	char tgz[512];

	if (fixtures_find(tgz, sizeof(tgz))) {
		puts("the images of CRIU 4.2 (test/golden) are not there");
		return 77;
	}
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
