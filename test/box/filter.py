# SPDX-License-Identifier: Apache-2.0
"""A seccomp filter that makes one system call of a program fail: what a container's profile may do to thaw.

    box.thaw('restore', 'images', preexec_fn=filter.deny(filter.IO_URING_ENTER, errno.EPERM, arg=1, above=0))
"""
import ctypes
import errno
import os
import struct

IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER, CACHESTAT, MMAP = 425, 426, 427, 451, 9
FALLOCATE, USERFAULTFD, IOCTL = 285, 323, 16

LOAD, EQUAL, ABOVE, RETURN = 0x20, 0x15, 0x25, 0x06
ALLOW, ERRNO = 0x7fff0000, 0x00050000


def _step(code, k, yes=0, no=0):
    return struct.pack('<HBBI', code, yes, no, k)


def deny(nr, err=errno.EPERM, arg=None, equal=None, above=None):
    """A preexec_fn: the call nr fails with err; only if its argument number arg (its lower half) is so, if given."""
    steps = [_step(LOAD, 0), None]
    if arg is not None:
        steps += [_step(LOAD, 16 + 8 * arg), _step(ABOVE, above, 0, 1) if equal is None else _step(EQUAL, equal, 0, 1)]
    steps += [_step(RETURN, ERRNO | err), _step(RETURN, ALLOW)]
    steps[1] = _step(EQUAL, nr, 0, len(steps) - 3)
    code = b''.join(steps)

    def install():
        libc = ctypes.CDLL(None, use_errno=True)
        buf = ctypes.create_string_buffer(code)
        prog = struct.pack('<HxxxxxxQ', len(steps), ctypes.addressof(buf))
        if libc.prctl(22, 2, prog, 0, 0) < 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER: needs root
            os._exit(97)
    return install
