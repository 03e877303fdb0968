/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA driver as the preloaded library uses it: its types, as far as they are needed, and the calls it makes.
 *
 * No header of CUDA's is needed to build thaw. Names and numbers are those of the driver's documented interface.
 */
#ifndef PRELOAD_DRIVER_H
#define PRELOAD_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int cu_result;
typedef int cu_device;
typedef struct cu_context_opaque *cu_context;
typedef struct cu_stream_opaque *cu_stream;
typedef unsigned long long cu_address;
typedef unsigned long long cu_memory; /* a physical piece: CUmemGenericAllocationHandle */

enum {
	CU_SUCCESS = 0,
	CU_INVALID_VALUE = 1,
	CU_OUT_OF_MEMORY = 2,
	CU_NOT_SUPPORTED = 801,
	CU_CAPTURE_INVALIDATED = 901,
	CU_CAPTURE_UNJOINED = 904,
};

/* Attributes of devices, as far as they are asked for. */
enum { CU_TEXTURE_ALIGNMENT = 14, CU_HAS_VMM = 102, CU_HAS_FD_HANDLES = 103, CU_HAS_RDMA_WITH_VMM = 110 };

/* Attributes of pointers that are answered by us. */
enum { CU_POINTER_CONTEXT = 1, CU_POINTER_RANGE_START = 11, CU_POINTER_RANGE_SIZE = 12, CU_POINTER_HANDLE_TYPES = 14 };

enum { CU_PINNED = 1, CU_ON_DEVICE = 1, CU_BY_FD = 1, CU_READ_WRITE = 3 };

struct cu_location {
	int type, id;
};

/* CUmemAllocationProp */
struct cu_memory_kind {
	int type, handle_types;
	struct cu_location location;
	void *win32;
	struct {
		unsigned char compression, rdma;
		unsigned short usage;
		unsigned char reserved[4];
	} flags;
};

/* CUmemAccessDesc */
struct cu_access {
	struct cu_location location;
	int flags;
};

/*
 * CALL(name, arguments): what the library calls itself. None of them is called through the gate: whoever calls is
 * either inside already or is the one that closed it.
 */
#define DRIVER_CALLS(CALL) \
	CALL(cuCtxGetCurrent, (cu_context *)) \
	CALL(cuCtxSetCurrent, (cu_context)) \
	CALL(cuCtxGetDevice, (cu_device *)) \
	CALL(cuCtxSynchronize, (void)) \
	CALL(cuDeviceGetAttribute, (int *, int, cu_device)) \
	CALL(cuDeviceTotalMem_v2, (size_t *, cu_device)) \
	CALL(cuDeviceGetUuid_v2, (void *, cu_device)) \
	CALL(cuDevicePrimaryCtxGetState, (cu_device, unsigned *, int *)) \
	CALL(cuDevicePrimaryCtxRetain, (cu_context *, cu_device)) \
	CALL(cuMemAddressReserve, (cu_address *, size_t, size_t, cu_address, unsigned long long)) \
	CALL(cuMemAddressFree, (cu_address, size_t)) \
	CALL(cuMemCreate, (cu_memory *, size_t, const struct cu_memory_kind *, unsigned long long)) \
	CALL(cuMemRelease, (cu_memory)) \
	CALL(cuMemcpyDtoD_v2, (cu_address, cu_address, size_t)) \
	CALL(cuMemMap, (cu_address, size_t, size_t, cu_memory, unsigned long long)) \
	CALL(cuMemUnmap, (cu_address, size_t)) \
	CALL(cuMemSetAccess, (cu_address, size_t, const struct cu_access *, size_t)) \
	CALL(cuMemExportToShareableHandle, (void *, cu_memory, int, unsigned long long)) \
	CALL(cuMemImportFromShareableHandle, (cu_memory *, void *, int)) \
	CALL(cuStreamSynchronize, (cu_stream)) \
	CALL(cuStreamSynchronize_ptsz, (cu_stream))

/*
 * TAKE(name, arguments): what the library answers itself, and passes on where it has nothing to add. The functions
 * are called take_<name>.
 */
#define DRIVER_TAKES(TAKE) \
	TAKE(cuMemAlloc_v2, (cu_address *, size_t)) \
	TAKE(cuMemAllocPitch_v2, (cu_address *, size_t *, size_t, size_t, unsigned)) \
	TAKE(cuMemFree_v2, (cu_address)) \
	TAKE(cuMemFreeAsync, (cu_address, cu_stream)) \
	TAKE(cuMemFreeAsync_ptsz, (cu_address, cu_stream)) \
	TAKE(cuMemGetInfo_v2, (size_t *, size_t *)) \
	TAKE(cuMemGetAddressRange_v2, (cu_address *, size_t *, cu_address)) \
	TAKE(cuPointerGetAttribute, (void *, int, cu_address)) \
	TAKE(cuPointerGetAttributes, (unsigned, int *, void **, cu_address)) \
	TAKE(cuCtxDestroy_v2, (cu_context)) \
	TAKE(cuDevicePrimaryCtxRelease_v2, (cu_device)) \
	TAKE(cuDevicePrimaryCtxReset_v2, (cu_device)) \
	TAKE(cuCtxEnablePeerAccess, (cu_context, unsigned)) \
	TAKE(cuStreamBeginCapture_v2, (cu_stream, int)) \
	TAKE(cuStreamBeginCapture_v2_ptsz, (cu_stream, int)) \
	TAKE(cuStreamBeginCaptureToGraph, (cu_stream, void *, const void *, const void *, size_t, int)) \
	TAKE(cuStreamBeginCaptureToGraph_ptsz, (cu_stream, void *, const void *, const void *, size_t, int)) \
	TAKE(cuStreamEndCapture, (cu_stream, void **)) \
	TAKE(cuStreamEndCapture_ptsz, (cu_stream, void **)) \
	TAKE(cuGetProcAddress, (const char *, void **, int, uint64_t)) \
	TAKE(cuGetProcAddress_v2, (const char *, void **, int, uint64_t, int *))

/* The real functions; NULL where this driver has none of that name. */
struct driver {
#define DRIVER_FIELD(name, args) cu_result(*name) args;
	DRIVER_CALLS(DRIVER_FIELD)
	DRIVER_TAKES(DRIVER_FIELD)
#undef DRIVER_FIELD
};

#define TAKE_DECLARE(name, args) cu_result take_##name args;
DRIVER_TAKES(TAKE_DECLARE)
#undef TAKE_DECLARE

/* Finds the driver and puts the gate before it; false when there is none on this machine. */
bool driver_load(void);
/* What driver_load() found. */
extern struct driver driver;
/* How many entry points were handed out without a stub; 0, or something is wrong. */
unsigned driver_ungated(void);

#endif
