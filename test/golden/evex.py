# SPDX-License-Identifier: Apache-2.0
"""Lets a statically linked subject that started on a CPU with AVX-512 finish on one without.

The C library chose its string functions when the program started (IFUNC), and the choice is in the images as
function pointers. On a CPU without AVX-512 the first call of one of them ends in SIGILL, which no engine can help.
So each *_evex* and *_avx512* function of the restored process gets, at its entry, a jump to the sibling that every
x86-64 CPU of the last ten years can run. Nothing else is touched: private text pages are copied when written.
"""
import re
import struct
import subprocess

FALLBACKS = ('avx2', 'avx', 'sse2', 'sse4_2', 'sse42', 'ssse3')


def cpu_has_avx512():
    with open('/proc/cpuinfo') as f:
        return ' avx512f ' in f.read()


def _symbols(binary):
    out = subprocess.run(['nm', binary], check=True, capture_output=True, text=True).stdout
    words = (line.split() for line in out.splitlines())
    return {w[2]: int(w[0], 16) for w in words if len(w) == 3 and w[1] in 'tT'}


def _sibling(name, symbols):
    base = re.match(r'(.*?)_(?:evex|avx512)', name)[1]
    tails = ['', '_movbe']
    if '_unaligned' in name:
        tails.insert(0, '_unaligned')
    if '_erms' in name:
        tails.insert(0, '_unaligned_erms')
    for level in FALLBACKS:
        for tail in tails:
            if f'{base}_{level}{tail}' in symbols:
                return symbols[f'{base}_{level}{tail}']
    return None


def jumps(binary):
    """[(address, code)] for every function that needs one and has a sibling."""
    symbols = _symbols(binary)
    out = []
    for name, va in symbols.items():
        if re.search(r'_(evex|avx512)', name) and not name.startswith('_dl'):
            to = _sibling(name, symbols)
            if to is not None:
                out.append((va, b'\xe9' + struct.pack('<i', to - (va + 5))))
    return out


def redirect(binary, pids):
    """Writes the jumps into the processes, which run that (not position-independent) binary."""
    code = jumps(binary)
    for pid in pids:
        with open(f'/proc/{pid}/mem', 'r+b', 0) as f:
            for va, jump in code:
                f.seek(va)
                f.write(jump)
