/* SPDX-License-Identifier: Apache-2.0 */
/* What `thaw gpu-agent --status` tells: the agent as JSON. */
#ifndef GPU_GPU_STATUS_H
#define GPU_GPU_STATUS_H

#include "gpu/gpu_conn.h"
#include "gpu/gpu_job.h"
#include "gpu/gpu_pool.h"

/* Text that the caller frees; NULL: out of memory. asker is left out of the clients. Calls no driver. */
char *gpu_status_json(const struct gpu_driver *d, struct gpu_pools *pools, struct gpu_keep *keep,
		      const struct gpu_jobs *jobs, const struct gpu_conns *conns, const struct gpu_conn *asker);

#endif
