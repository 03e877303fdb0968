/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVIDIA's driver interface, found at run time: nothing of CUDA is needed to build thaw or to start it.
 *
 * Types and numbers are those of the public interface, as far as thaw uses them. The calls are
 * the rows of cuda_api.def.
 */
#ifndef GPU_CUDA_API_H
#define GPU_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct cuda_ctx_handle *cuda_ctx;
typedef struct cuda_stream_handle *cuda_stream;
typedef uint64_t cuda_ptr; /* an address in device memory */

/* Results that thaw tells apart. */
enum cuda_result {
	CUDA_OK = 0, CUDA_INVALID_VALUE = 1, CUDA_OUT_OF_MEMORY = 2, CUDA_NOT_INITIALIZED = 3, CUDA_NO_DEVICE = 100,
	CUDA_ILLEGAL_STATE = 401, CUDA_NOT_READY = 600, CUDA_NOT_PERMITTED = 800, CUDA_NOT_SUPPORTED = 801,
};

enum {
	CUDA_STREAM_NON_BLOCKING = 1,
	CUDA_HOST_ALLOC_PORTABLE = 1,    /* pinned for every context */
	CUDA_CHECKPOINT_VERSION = 12080, /* driver 570: the first with the checkpoint calls */
	CUDA_LENDING_VERSION = 13040,    /* the first whose driver may lend the memory (gpu_lent.h) */
};

/* What the checkpoint calls take: 64 bytes each, what has no name here must be zero. */
struct cuda_lock {
	uint32_t timeout_ms, zero; /* 0: no limit */
	uint64_t zeros[7];
};
struct cuda_lent { /* "custom storage": what the driver lends */
	void *operation;
	struct cuda_lent_gpu {
		cuda_ptr at;
		size_t len;
		cuda_stream stream; /* of the GPU's primary context */
	} *gpu;
	uint32_t n;
};
struct cuda_checkpoint {
	struct cuda_lent **lent; /* NULL: the driver copies; before CUDA 13.4 nothing else is allowed */
	uint64_t zeros[7];
};
struct cuda_gpu_pair {
	uint8_t from[16], to[16];
};
struct cuda_restore {
	struct cuda_gpu_pair *pair; /* every GPU that was checkpointed, or none */
	uint32_t n_pairs, zero;
	struct cuda_lent **lent; /* as above */
	uint64_t zeros[5];
};
struct cuda_unlock {
	uint64_t zeros[8];
};

/* CUmemAllocationProp and CUmemAccessDesc */
enum { CUDA_PINNED = 1, CUDA_ON_DEVICE = 1, CUDA_BY_FD = 1, CUDA_READ_WRITE = 3, CUDA_HAS_RDMA_WITH_VMM = 110 };
struct cuda_piece_kind {
	int type, handle_types, place_type, place;
	void *zero;
	uint8_t compression, rdma;
	uint16_t usage;
	uint8_t zeros[4];
};
struct cuda_access {
	int place_type, place, flags;
};

struct cuda_api {
	void *lib;
	int version; /* 1000 * major + 10 * minor of CUDA */
	int (*operation_complete)(void *operation); /* NULL: the driver does not lend */
#define CUDA_CALL(need, member, symbol, args) int (*member) args;
#include "gpu/cuda_api.def"
};

/*
 * Loads libcuda.so.1 (or what THAW_LIBCUDA names). -ENOENT when there is none, -ENOTSUP when it is too
 * old; the sentence says what is missing. It is never unloaded: the driver's threads live in it.
 */
int cuda_api_load(struct cuda_api *ret) must_check;

/* Whether the driver, which is started, lends memory at checkpoints: it is asked, a version alone is no proof. */
void cuda_api_probe(struct cuda_api *c);

/* "CUDA_ERROR_OUT_OF_MEMORY (out of memory)", as the driver calls it, in text. Returns text. */
const char *cuda_error_text(const struct cuda_api *c, int result, char text[128]);
/* The errno that says the same. */
int cuda_errno(int result);

/* -errno and "what: the driver's words" unless result is a success. */
#define cuda_check(c, result, ...)                                                                        \
	({                                                                                                \
		int cuda_result_ = (result);                                                              \
		char cuda_text_[128];                                                                     \
		cuda_result_ ? err_ctx(err_say(cuda_errno(cuda_result_), "%s",                            \
					       cuda_error_text((c), cuda_result_, cuda_text_)), __VA_ARGS__) \
			     : 0;                                                                         \
	})

#endif
