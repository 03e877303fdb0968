# SPDX-License-Identifier: Apache-2.0
"""A control group of a test's own, of either version.

    with cgroup.made('memory', 'memory.limit_in_bytes', 'memory.max') as g:
        g.set(n)
        box.thaw(..., preexec_fn=g.enter)

At the end all processes of the box are killed, but those to keep."""
import contextlib
import os

import box

GROUPS = '/sys/fs/cgroup'


def write(path, text):
    with open(path, 'w') as f:
        f.write(str(text))


class Group:
    def __init__(self, path, file):
        self.path, self.file = path, file

    def set(self, limit):
        write(f'{self.path}/{self.file}', limit)

    def enter(self):
        write(f'{self.path}/cgroup.procs', os.getpid())


@contextlib.contextmanager
def made(controller, *files, keep=()):
    """A group whose limit is one of the files, as the version has it. Skips the test where none can be made."""
    for root in (f'{GROUPS}/{controller}', GROUPS):
        path = f'{root}/thaw-test-{os.getpid()}-{os.path.basename(os.getcwd())}'
        try:
            os.mkdir(path)
        except OSError:
            continue
        try:
            for x in files:
                if os.path.exists(f'{path}/{x}'):
                    yield Group(path, x)
                    return
        finally:
            box.kill_all(keep)
            os.rmdir(path)
    raise box.Skipped(f'no control group for {controller} can be made here')
