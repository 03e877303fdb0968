# SPDX-License-Identifier: Apache-2.0
"""A file system with faults: a directory shown once more, read-only, through /dev/fuse. Spoken to the kernel directly
(linux/fuse.h, protocol 7.31), so nothing need be installed; served by a thread of the test.

    with faulty.mounted('images', 'faulty', fault): ...

fault(name, offset, size) is asked before each read: it returns how many bytes to give at most, or raises OSError.
Short reads reach the reader as they are: the kernel's page cache is left out."""
import contextlib
import ctypes
import errno
import os
import struct
import threading

import box

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, GETXATTR, FLUSH, INIT = 1, 2, 3, 14, 15, 17, 18, 22, 25, 26
OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 27, 28, 29, 34, 36, 42
DIRECT_IO = 1
BUFFER = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)


def _attr(ino, st):
    return struct.pack('<6Q10I', ino, st.st_size, st.st_blocks, 0, 0, 0, 0, 0, 0, st.st_mode, st.st_nlink, 0, 0, 0, 4096, 0)


class Server:
    def __init__(self, below, fault):
        self.below, self.fault = below, fault
        self.names = sorted(os.listdir(below))  # the file names[i] is inode i + 2; the directory is 1

    def path(self, ino):
        return self.below if ino == 1 else os.path.join(self.below, self.names[ino - 2])

    def attr(self, ino):
        return _attr(ino, os.stat(self.path(ino)))

    def lookup(self, _, body):
        name = body.split(b'\0')[0].decode()
        if name not in self.names:
            raise OSError(errno.ENOENT, name)
        ino = self.names.index(name) + 2
        return struct.pack('<4Q2I', ino, 0, 0, 0, 0, 0) + self.attr(ino)

    def readdir(self, _, body):
        _, offset, size = struct.unpack_from('<QQI', body)
        out = b''
        for i, name in list(enumerate(self.names))[offset:]:
            raw = name.encode()
            entry = struct.pack('<QQII', i + 2, i + 1, len(raw), 8) + raw
            entry += bytes(-len(entry) % 8)
            if len(out) + len(entry) > size:
                break
            out += entry
        return out

    def read(self, ino, body):
        _, offset, size = struct.unpack_from('<QQI', body)
        most = self.fault(self.names[ino - 2], offset, size)
        with open(self.path(ino), 'rb') as f:
            return os.pread(f.fileno(), min(size, most), offset)

    def answer(self, op, ino, body):
        if op == INIT:
            return struct.pack('<4I2H2I2H8I', 7, 31, 0, 0, 16, 12, 4096, 1, 0, 0, *[0] * 8)
        if op == LOOKUP:
            return self.lookup(ino, body)
        if op == GETATTR:
            return struct.pack('<QII', 0, 0, 0) + self.attr(ino)
        if op in (OPEN, OPENDIR):
            if struct.unpack_from('<I', body)[0] & os.O_ACCMODE != os.O_RDONLY:
                raise OSError(errno.EROFS, '')
            return struct.pack('<QII', 0, DIRECT_IO if op == OPEN else 0, 0)
        if op == READ:
            return self.read(ino, body)
        if op == READDIR:
            return self.readdir(ino, body)
        if op == STATFS:
            return bytes(80)
        if op in (RELEASE, RELEASEDIR, FLUSH, ACCESS):
            return b''
        raise OSError(errno.ENOSYS, '')

    def serve(self, fd):
        while True:
            try:
                request = os.read(fd, BUFFER)
            except OSError as e:
                if e.errno == errno.ENODEV:  # unmounted
                    return
                continue
            _, op, unique, ino = struct.unpack_from('<IIQQ', request)
            if op in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                out, err = self.answer(op, ino, request[40:]), 0
            except OSError as e:
                out, err = b'', -e.errno
            with contextlib.suppress(OSError):  # the reader was killed meanwhile
                os.write(fd, struct.pack('<IiQ', 16 + len(out), err, unique) + out)


@contextlib.contextmanager
def mounted(below, at, fault):
    if not os.path.exists('/dev/fuse'):
        raise box.Skipped('this kernel has no FUSE: there is no /dev/fuse')
    os.makedirs(at, exist_ok=True)
    fd = os.open('/dev/fuse', os.O_RDWR | os.O_CLOEXEC)
    data = f'fd={fd},rootmode=40000,user_id=0,group_id=0'.encode()
    if libc.mount(b'faulty', os.path.abspath(at).encode(), b'fuse', 1 | 2 | 4, data) < 0:  # read-only, no suid, no devices
        e = ctypes.get_errno()
        os.close(fd)
        raise box.Skipped(f'FUSE cannot be mounted here: {os.strerror(e)}')
    thread = threading.Thread(target=Server(below, fault).serve, args=(fd,), daemon=True)
    thread.start()
    try:
        yield at
    finally:
        libc.umount2(os.path.abspath(at).encode(), 2)  # MNT_DETACH
        thread.join(5)
        os.close(fd)
