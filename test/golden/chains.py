# SPDX-License-Identifier: Apache-2.0
"""Chains of images: CRIU's golden images, cut into three that build upon each other.

  chain/KIND   restores as the whole does, and the subject in it says PASS

CRIU makes such images only where the kernel has soft-dirty bits, so they are made here: each page is put into one of
three directories, and the older ones also get pages that newer ones hold, with other contents: whoever reads one of
those is wrong. The page maps of the middle one are written as CRIU did it up to 4.1 (in_parent, no flags).
"""
import functools
import os
import random
import struct

import restores
from case import case_add

PAGE = 4096
PARENT, PRESENT = 1, 4


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def to_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(message):
    """Numbers by field number; these messages have nothing else."""
    at, out = 0, {}
    while at < len(message):
        key, at = varint(message, at)
        out[key >> 3], at = varint(message, at)
    return out


def message(**numbers):
    body = b''.join(to_varint(int(k[1:]) << 3) + to_varint(v) for k, v in numbers.items())
    return struct.pack('<I', len(body)) + body


def read_map(path):
    """The magic, the number of the pages file, the addresses of its pages in order."""
    with open(path, 'rb') as f:
        data = f.read()
    at, entries = 8, []
    while at < len(data):
        n = struct.unpack_from('<I', data, at)[0]
        entries.append(fields(data[at + 4:at + 4 + n]))
        at += 4 + n
    return data[:8], entries[0][1], [e[1] + k * PAGE for e in entries[1:] for k in range(e.get(5) or e[2])]


def write_map(path, magic, pages_id, pages, old):
    """pages: (address, is it here)."""
    runs = []
    for va, here in pages:
        if runs and runs[-1][0] + runs[-1][1] * PAGE == va and runs[-1][2] == here:
            runs[-1][1] += 1
        else:
            runs.append([va, 1, here])
    with open(path, 'wb') as f:
        f.write(magic + message(f1=pages_id))
        for va, n, here in runs:
            if old:
                f.write(message(f1=va, f2=n, f3=0 if here else 1))
            else:
                f.write(message(f1=va, f2=0, f4=PRESENT if here else PARENT, f5=n))


def cut(top):
    """Takes pages out of a directory of images and puts them into TOP-1 and TOP-2, which it then builds upon."""
    dice = random.Random(5)
    dirs = [top, f'{top}-1', f'{top}-2']
    for d in dirs[1:]:
        os.mkdir(d)
    for newer, older in zip(dirs, dirs[1:]):
        os.symlink(f'../{os.path.basename(older)}', f'{newer}/parent')
    for name in [n for n in os.listdir(top) if n.startswith('pagemap-')]:
        magic, pages_id, vas = read_map(f'{top}/{name}')
        with open(f'{top}/pages-{pages_id}.img', 'rb') as f:
            contents = {va: f.read(PAGE) for va in vas}
        owner, holder = {}, 0
        for va in vas:
            holder = holder if dice.random() < 0.7 else dice.randrange(3)
            owner[va] = holder
        for k, d in enumerate(dirs):
            # a page of a newer directory may lie here too, and is not what it was
            pages = [(va, owner[va] <= k) for va in vas if owner[va] >= k or dice.random() < 0.5]
            write_map(f'{d}/{name}', magic, pages_id, pages, k == 1)
            with open(f'{d}/pages-{pages_id}.img', 'wb') as f:
                for va, here in pages:
                    if here:
                        f.write(contents[va] if owner[va] == k else b'\xa5' * PAGE)


for kind in restores.ROOTS:
    for fill in ('serial', 'parallel'):
        case_add(f'chain/{kind}/{fill}', functools.partial(restores.criu, kind, fill, cut))
