# SPDX-License-Identifier: Apache-2.0
"""Not enough memory to restore: a limit on addresses, and a control group that holds less than the image. The restore
fails with one sentence and leaves nothing, or it works; with room again the same images restore."""
import os
import resource

import box
import cgroup
import kinds
from box import check
from case import case

BULK = os.path.join(box.BUILD, 'test/fault/bulk')


def dumped():
    pid = kinds.start(BULK)
    box.dump(pid, 'images')
    box.wait_gone(pid)
    box.nothing_left('after the dump')
    return pid


def tried(name, reason='', **kw):
    """One restore under a limit: whether it came to something. If not, the reason is in its sentence."""
    r = box.thaw('restore', 'images', '-d', '--parallel-restore=2', **kw)
    if r.code:
        box.refused(r, reason)
        box.nothing_left(f'{name}: {r.err.strip()}')
    else:
        box.kill_all()
    return r.code == 0


@case('no memory/addresses', limit=120)
def addresses():
    pid = dumped()
    worked = []
    for mib in (64, 100, 128, 160, 200, 256, 300, 400, 1000, 4000):
        def limit(most=mib << 20):
            resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        worked.append(tried(f'{mib} MiB of addresses', preexec_fn=limit))
    check(not worked[0] and worked[-1], f'which limits let the restore through: {worked}')
    box.restore('images')
    kinds.passes(pid, 'restored in the end')


@case('no memory/control group', limit=120)
def group():
    pid = dumped()
    worked = []
    with cgroup.made('memory', 'memory.limit_in_bytes', 'memory.max') as g:
        for mib in (8, 20, 40, 60, 80, 95, 400):
            g.set(mib << 20)
            worked.append(tried(f'{mib} MiB of memory', 'for want of memory', preexec_fn=g.enter))
    check(not worked[0] and worked[-1], f'which limits let the restore through: {worked}')
    box.restore('images')
    kinds.passes(pid, 'restored in the end')
