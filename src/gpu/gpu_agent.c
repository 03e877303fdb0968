/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's main thread (gpu_agent.h): start, the loop, end. */
#include "gpu/gpu_agent.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "gpu/gpu_conn.h"
#include "gpu/gpu_job.h"
#include "gpu/gpu_socket.h"
#include "gpu/gpu_spawn.h"
#include "gpu/gpu_status.h"

enum {
	POLL_MOST = 256,     /* clients at once; more wait in the queue */
	REFILL_SECONDS = 10, /* after pools were given up; new clients only, not the one that needed the room */
	FAILED_SECONDS = 1,  /* an agent without a driver says so for so long to whoever asks */
	END_SECONDS = 5,     /* for steps that are under way when the agent is told to end */
	END_HARD_SECONDS = 15, /* for the driver to let go of the GPUs */
};

#define NS_PER_S UINT64_C(1000000000)

struct agent {
	struct gpu_driver driver;
	struct gpu_pools pools;
	struct gpu_start start;
	struct gpu_keep keep;
	struct gpu_jobs jobs;
	struct gpu_conns conns;
	char path[GPU_SOCKET_LEN];
	int listen_fd, lock_fd, signal_fd;
	uint64_t idle_ns, busy_at_ns;
	uint64_t end_ns; /* not 0: ends when no job is left, or at this time */
};

static int signals_open(int *ret_fd)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret_fd < 0 ? err_set(errno, "make a signalfd") : 0;
}

/*
 * Without a driver nobody listens. With one somebody does before it is started: whoever comes meanwhile finds this
 * agent, and has its memory to fill.
 */
static int agent_start(struct agent *a, const struct gpu_agent_opts *o)
{
	int r = o->ready_fd >= 0 ? gpu_spawn_detach() : 0;

	if (r >= 0)
		r = signals_open(&a->signal_fd);
	if (r >= 0)
		r = cuda_api_load(&a->driver.api);
	if (r >= 0)
		r = gpu_socket_listen(a->path, &a->listen_fd, &a->lock_fd);
	if (r < 0)
		return r;
	a->start = (struct gpu_start){ .driver = &a->driver, .pools = &a->pools, .pool_size = (size_t)o->pool_size };
	r = gpu_jobs_init(&a->jobs, &a->start, &a->keep);
	a->start.wake_fd = a->jobs.wake_fd;
	gpu_keep_init(&a->keep, &a->driver, a->jobs.wake_fd);
	if (r >= 0)
		r = gpu_start_begin(&a->start);
	if (r < 0)
		unlink(a->path);
	a->idle_ns = (uint64_t)o->idle_s * NS_PER_S;
	a->busy_at_ns = trace_now_ns();
	return r;
}

static void refuse(const struct gpu_conn *conn, const struct gpu_request *q, int r)
{
	struct gpu_reply head = { .version = GPU_WIRE_VERSION, .ticket = q->ticket, .result = r };

	gpu_conn_reply(conn, &head, err_text());
}

static void status_send(struct agent *a, const struct gpu_conn *conn, struct gpu_reply *head)
{
	int r = gpu_start_state(&a->start);
	auto_free char *text = NULL;

	if (r == 1)
		r = err_say(EAGAIN, "the GPU agent is just starting the NVIDIA driver");
	if (r == 0)
		text = gpu_status_json(&a->driver, &a->pools, &a->keep, &a->jobs, &a->conns, conn);
	head->result = r;
	gpu_conn_reply(conn, head, r < 0 ? err_text() : text ? text : "{}");
}

static void request_serve(struct agent *a, const struct gpu_conn *conn, const struct gpu_request *q, int *fd)
{
	struct gpu_reply head = { .version = GPU_WIRE_VERSION, .ticket = q->ticket };
	int r;

	if (q->op == GPU_OP_HELLO) {
		gpu_conn_reply(conn, &head, "");
		if (gpu_start_state(&a->start) == 0)
			gpu_pools_refill(&a->pools, NS_PER_S * REFILL_SECONDS);
	}
	if (q->op == GPU_OP_STATUS)
		status_send(a, conn, &head);
	if (q->op < GPU_OP_MAP)
		return;
	r = gpu_job_start(&a->jobs, q, conn->id, take_fd(fd));
	if (r < 0)
		refuse(conn, q, r);
}

/* One request of a client; it will be its turn again when all others had theirs. */
static void conn_serve(struct agent *a, struct gpu_conn *conn)
{
	struct gpu_request q;
	int fd, r = gpu_conn_request(conn, &q, &fd);

	if (r == -EPIPE)
		gpu_conn_drop(&a->conns, conn);
	else if (r < 0)
		refuse(conn, &q, r);
	else if (r > 0)
		request_serve(a, conn, &q, &fd);
	close_fd(&fd);
}

static void answers_send(struct agent *a)
{
	struct gpu_answer answer;
	uint64_t count;

	(void)!read(a->jobs.wake_fd, &count, sizeof(count));
	while (gpu_job_answer(&a->jobs, &answer)) {
		const struct gpu_conn *conn = gpu_conn_find(&a->conns, answer.conn);
		struct gpu_reply head = { GPU_WIRE_VERSION, answer.ticket, answer.result, answer.value, answer.ns };

		if (answer.result < 0)
			log_warn("%s", answer.text);
		if (conn)
			gpu_conn_reply(conn, &head, answer.text);
	}
}

/* The driver did not start: there is nothing to stay for but to say so. */
static void start_check(struct agent *a)
{
	if (gpu_start_state(&a->start) < 0)
		a->idle_ns = NS_PER_S * FAILED_SECONDS;
}

static void signal_take(struct agent *a)
{
	struct signalfd_siginfo si;

	if (read(a->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	log_info("ends: signal %u; %zu steps under way", si.ssi_signo, a->jobs.n);
	a->end_ns = trace_now_ns() + NS_PER_S * END_SECONDS;
}

/* What is kept is of use until its own time is over. */
static bool in_use(struct agent *a)
{
	return a->conns.n || a->jobs.n || gpu_keep_any(&a->keep);
}

/* When the loop has something to do that no descriptor tells; 0: never. */
static uint64_t next_ns(struct agent *a)
{
	uint64_t t = gpu_jobs_until_ns(&a->jobs);

	if (a->end_ns && (!t || a->end_ns < t))
		t = a->end_ns;
	if (a->idle_ns && !in_use(a) && (!t || a->busy_at_ns + a->idle_ns < t))
		t = a->busy_at_ns + a->idle_ns;
	return t;
}

static int poll_ms(struct agent *a)
{
	uint64_t t = next_ns(a), now = trace_now_ns();

	if (!t)
		return -1;
	return t <= now ? 0 : t - now > UINT64_C(3600000000000) ? 3600000 : (int)((t - now) / 1000000) + 1;
}

static bool idle_over(struct agent *a)
{
	return a->idle_ns && !in_use(a) && trace_now_ns() >= a->busy_at_ns + a->idle_ns;
}

/* One round: waits, and does what there is to do. False: it is over. */
static bool agent_turn(struct agent *a)
{
	struct pollfd fd[3 + POLL_MOST] = { { .fd = a->signal_fd, .events = POLLIN },
					    { .fd = a->jobs.wake_fd, .events = POLLIN },
					    { .fd = a->end_ns ? -1 : a->listen_fd, .events = POLLIN } };
	struct gpu_conn *conn[POLL_MOST];
	nfds_t n = 0;

	for (struct gpu_conn *c = a->conns.first; c && n < POLL_MOST; c = c->next) {
		fd[3 + n] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
		conn[n++] = c;
	}
	if (n == POLL_MOST)
		fd[2].fd = -1;
	if (poll(fd, 3 + n, poll_ms(a)) < 0 && errno != EINTR)
		return false;
	if (fd[0].revents)
		signal_take(a);
	answers_send(a);
	start_check(a);
	for (nfds_t i = 0; i < n; i++)
		if (fd[3 + i].revents)
			conn_serve(a, conn[i]);
	if (fd[2].revents)
		gpu_conn_accept(&a->conns, a->listen_fd);
	if (in_use(a))
		a->busy_at_ns = trace_now_ns();
	if (a->end_ns)
		return a->jobs.n && trace_now_ns() < a->end_ns;
	return !idle_over(a);
}

/* The socket goes first: whoever comes now starts a new agent as soon as this one has let go of its lock. */
static void agent_end(struct agent *a)
{
	unlink(a->path);
	close(a->listen_fd);
	alarm(END_HARD_SECONDS);
	if (a->jobs.n) {
		log_warn("ends although the NVIDIA driver is still at work on %zu processes", a->jobs.n);
		_exit(1); /* its threads use what exit() would take down */
	}
	while (a->conns.first)
		gpu_conn_drop(&a->conns, a->conns.first);
	if (gpu_start_wait(&a->start) >= 0) {
		gpu_keep_end(&a->keep);
		gpu_pools_end(&a->pools);
	}
	close(a->lock_fd);
}

int gpu_agent_run(const struct gpu_agent_opts *o)
{
	struct agent *a = calloc(1, sizeof(*a));
	int r = a ? gpu_socket_path(o->socket, a->path) : err_set(ENOMEM, "start the GPU agent");

	if (r >= 0)
		r = agent_start(a, o);
	gpu_spawn_tell(o->ready_fd, r);
	if (r >= 0) {
		log_info("listens at %s", a->path);
		while (agent_turn(a))
			;
		agent_end(a);
		log_info("has ended");
	}
	return r; /* a stays: threads that are in the driver use it */
}
