# SPDX-License-Identifier: Apache-2.0
"""thaw's own declarations of the driver's interface against NVIDIA's header, where there is one."""
import os
import re

import box
from box import Skipped
from case import case

HEADER = '/usr/local/cuda/include/cuda.h'
STRUCTS = {'cuda_lock': 'CUcheckpointLockArgs', 'cuda_checkpoint': 'CUcheckpointCheckpointArgs', 'cuda_restore': 'CUcheckpointRestoreArgs',
           'cuda_unlock': 'CUcheckpointUnlockArgs', 'cuda_gpu_pair': 'CUcheckpointGpuPair'}
MEMBERS = (('cuda_lock', 'timeout_ms', 'timeoutMs'), ('cuda_restore', 'pair', 'gpuPairs'),
           ('cuda_restore', 'n_pairs', 'gpuPairsCount'), ('cuda_gpu_pair', 'from', 'oldUuid'), ('cuda_gpu_pair', 'to', 'newUuid'))
LENT = (('cuda_lent', 'CUcheckpointCustomStorageInfo', 'operation', 'handle'), ('cuda_lent', 'CUcheckpointCustomStorageInfo', 'gpu', 'perDeviceData'),
        ('cuda_lent', 'CUcheckpointCustomStorageInfo', 'n', 'deviceCount'), ('cuda_lent_gpu', 'CUcheckpointCustomStoragePerDeviceData', 'at', 'devPtr'),
        ('cuda_lent_gpu', 'CUcheckpointCustomStoragePerDeviceData', 'len', 'size'), ('cuda_lent_gpu', 'CUcheckpointCustomStoragePerDeviceData', 'stream', 'stream'),
        ('cuda_checkpoint', 'CUcheckpointCheckpointArgs', 'lent', 'customStorageInfo_out'), ('cuda_restore', 'CUcheckpointRestoreArgs', 'lent', 'customStorageInfo_out'))
NUMBERS = {'CUDA_OK': 'CUDA_SUCCESS', 'CUDA_STREAM_NON_BLOCKING': 'CU_STREAM_NON_BLOCKING',
           'CUDA_HOST_ALLOC_PORTABLE': 'CU_MEMHOSTALLOC_PORTABLE', 'GPU_RUNNING': 'CU_PROCESS_STATE_RUNNING',
           'GPU_LOCKED': 'CU_PROCESS_STATE_LOCKED', 'GPU_CHECKPOINTED': 'CU_PROCESS_STATE_CHECKPOINTED',
           'GPU_FAILED': 'CU_PROCESS_STATE_FAILED'}
ERRORS = ('INVALID_VALUE', 'OUT_OF_MEMORY', 'NOT_INITIALIZED', 'NO_DEVICE', 'ILLEGAL_STATE', 'NOT_READY', 'NOT_PERMITTED', 'NOT_SUPPORTED')


def read(path):
    with open(path) as f:
        return f.read()


@case('header/same')
def same():
    """Sizes, offsets, numbers, and for each row of cuda_api.def a function of that name with that many arguments."""
    if not os.path.exists(HEADER):
        raise Skipped(f'there is no {HEADER}')
    own = os.path.join(box.TOP, 'src/gpu')
    lines = ['#include <cuda.h>', '#include "gpu/cuda_api.h"', '#include "gpu/gpu_client.h"', '#include <stddef.h>']
    lines += [f'_Static_assert(sizeof(struct {a}) == sizeof({b}), "{a}");' for a, b in STRUCTS.items()]
    lines += [f'_Static_assert(offsetof(struct {s}, {a}) == offsetof({STRUCTS[s]}, {b}), "{s}.{a}");' for s, a, b in MEMBERS]
    lines += [f'_Static_assert((int){a} == (int){b}, "{a}");' for a, b in NUMBERS.items()]
    lines += [f'_Static_assert((int)CUDA_{e} == (int)CUDA_ERROR_{e}, "{e}");' for e in ERRORS]
    if 'CUcheckpointCustomStorageInfo' in read(HEADER):  # CUDA 13.4
        lines += [f'_Static_assert(sizeof(struct {a}) == sizeof({b}) && offsetof(struct {a}, {x}) == offsetof({b}, {y}), "{a}");'
                  for a, b, x, y in LENT]
    rows = re.findall(r'^CUDA_CALL\(\w+,\s*\w+,\s*"(\w+)",\s*\((.*)\)\)$', read(f'{own}/cuda_api.def'), re.M)
    box.check(len(rows) > 20, 'the rows of cuda_api.def cannot be read')
    for symbol, args in rows:  # called with so many zeros: more or fewer arguments would not compile
        n = 0 if args == 'void' else len(args.split(','))
        lines.append(f'static inline int try_{symbol}(void) {{ return (int){symbol}({", ".join(["0"] * n)}); }}')
    with open('same.c', 'w') as f:
        f.write('\n'.join(lines) + '\n')
    box.must(box.run(['gcc', '-std=gnu17', '-fsyntax-only', '-Wall', '-Werror=implicit-function-declaration', f'-I{os.path.dirname(HEADER)}',
                      f'-I{box.TOP}/src', '-Wno-unused-function', 'same.c']))
