/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a stage table (stage.h). */
#include "base/stage.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/trace.h"

static int run_one(const struct stage *s, void *ctx)
{
	uint64_t from = trace_now_ns(), to;
	int r = s->run(ctx);

	to = trace_now_ns();
	log_info("stage %s: %s in %.3f ms", s->name, r < 0 ? "failed" : "done", (double)(to - from) / 1e6);
	trace_span(s->name, getpid(), getpid(), from, to, 0);
	return r;
}

int stage_run_all(const struct stage *stages, size_t n, void *ctx)
{
	char why[1024];
	size_t k;
	int r = 0;

	trace_name(getpid(), 0, "thaw");
	trace_name(getpid(), getpid(), "stages");
	for (k = 0; k < n; k++) {
		r = run_one(&stages[k], ctx);
		if (r < 0)
			break;
	}
	if (r < 0) {
		strncpy(why, err_text(), sizeof(why) - 1);
		why[sizeof(why) - 1] = 0;
		for (size_t i = k + 1; i-- > 0;)
			if (stages[i].undo)
				stages[i].undo(ctx);
		err_adopt(-r, why); /* an undo may have left a trail of its own */
	}
	for (size_t i = r < 0 ? k + 1 : n; i-- > 0;)
		if (stages[i].done)
			stages[i].done(ctx);
	return r < 0 ? r : 0;
}
