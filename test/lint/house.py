# SPDX-License-Identifier: Apache-2.0
"""House rules (HACKING.md, "Style") that no analyser knows. An exception stands in a list here, with its reason; one
that is not needed any more is a failure too, so that the lists only shrink."""
import os
import re
import subprocess

import box
from box import Failed, Skipped
from case import case

WIDTH = 120           # columns, tabs to 8
ROW_WIDTH = 170       # of a row of a table, and of a line that a message runs out of: messages stay in one piece
FILE_LINES = 350
TEST_LINES = 750      # a unit test goes with the file it tests
FUNCTION_LINES = 50
CODE = ('.c', '.h', '.S', '.def')
OTHER = ('.py', '.mk', '.proto', '.lds', '.tbl')
FOREIGN = 'test/golden/criu-4.2/'  # kept as it was when CRIU made images of it

# A file includes only from its own row or an earlier one (ARCHITECTURE.md).
LAYERS = (('base', 'preload', '../../proto/images.tbl'), ('img', 'kern', 'gpu', 'track', 'pie/prog.h'), ('snap', 'prog'),
          ('page', 'arch', 'kind'), ('dump', 'restore'), ('cli',))

# Files and functions that may be longer.
LONG = {
}
# Exported functions that do not begin with a word of their file's name.
NAMES = {
    'src/pie/': 'the blob: pie_ and op_ whichever file they are in, since blob.h is their one header',
    'src/preload/': 'take_*: what stands in for a call of the driver (driver.h), in the file of its noun',
    'src/dump/files.c': 'dumping_*: what kinds may ask of a dump (kind.h)',
    'src/dump/linked.c': 'the same',
    'src/restore/rfiles.c': 'restoring_*: what kinds may ask of a restore (kind.h)',
    'src/kern/procfile.c': 'scan_*: reading numbers out of such files',
}
# Exported functions that nobody in src/ calls.
UNCALLED = {
    'gpu_slot_mem': 'the same for device memory',
    **dict.fromkeys(('gate_left', 'gate_wait'), 'called from gate_stubs.S'),
    **dict.fromkeys(('take_cuGetProcAddress', 'take_cuGetProcAddress_v2'), 'in the table of driver.h'),
    'vdso_own': 'the tests compare with it',
    'fdinfo_inotify_next': 'tested and ready for the kind',
    'fdinfo_pidfd': 'tested and ready for the kind',
}
# Data that is written after start.
WRITTEN = {
    **{f"preload/{x}.o": "a library in another program has no struct to be passed"
       for x in ('driver', 'gate', 'gate_place', 'owner', 'serve', 'session')},
    'base/log.o': 'the log', 'base/trace.o': 'the trace', 'base/err.o': 'the error trail, one a thread',
    'base/guard.o': 'what its signal handler can reach',
    'kern/watchdog.o': 'shared with its process',
    'kern/feature.o': 'what was found out about the kernel, once',
}


def tree(*tops, ends=CODE):
    """(path, lines) of every source file under the directories."""
    for top in tops:
        for d, _, names in sorted(os.walk(os.path.join(box.TOP, top))):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(d, name), box.TOP)
                if name.endswith(ends) and not path.startswith(FOREIGN):
                    with open(os.path.join(box.TOP, path), encoding='utf-8') as f:
                        yield path, f.read().split('\n')


def verdict(found):
    for x in found:
        print(x)
    if found:
        raise Failed(f'{len(found)} findings: {found[0]}')


def unneeded(exceptions, used):
    return [f'the exception for {x} is not needed any more' for x in exceptions if x not in used]


def functions(lines):
    """(first line, what stands before the brace, number of lines inside) of each function."""
    start = None
    for i, line in enumerate(lines):
        if line == '{':
            start = i
        elif line == '}' and start is not None:
            head = start
            while head > 0 and re.match(r'[\w\t]', lines[head - 1]) and not lines[head - 1].endswith(';'):
                head -= 1
            yield head + 1, ' '.join(x.strip() for x in lines[head:start]), i - start - 1
            start = None


def called(head):
    return re.sub(r'.*?(\w+)\(.*', r'\1', head)


@case('heads', boxed=False)
def heads():
    """The licence in the first line, then what the file is and why it is so."""
    found = []
    for path, lines in tree('src', 'test', 'bench', 'scripts', 'proto', 'doc', ends=CODE + OTHER):
        first = lines[1] if lines[0].startswith('#!') else lines[0]
        if 'SPDX-License-Identifier: Apache-2.0' not in first:
            found.append(f'{path}:1: no licence')
        elif path.startswith('src/') and not re.match(r'/[*/]|#|//', lines[1]):
            found.append(f'{path}:2: no word about what it is')
    verdict(found)


@case('lines', boxed=False)
def lines_():
    found = []
    for path, lines in tree('src', 'test', 'bench'):
        for n, line in enumerate(lines, 1):
            wide = line.expandtabs(8)
            bare = re.sub(r'"(\\.|[^"\\])*"', '""', wide)
            row = re.match(r'\t* *[{\[]|[A-Z]+\(', line) or (bare != wide and len(bare) <= WIDTH)
            if len(wide) > (ROW_WIDTH if row else WIDTH):
                found.append(f'{path}:{n}: {len(wide)} columns')
            if line != line.rstrip():
                found.append(f'{path}:{n}: blanks at the end')
            if re.match(r'\t* +\t|\t* {8}', line):
                found.append(f'{path}:{n}: blanks where tabs belong')
    verdict(found)


@case('sizes', boxed=False)
def sizes():
    found, used = [], set()

    def over(what, text):
        if what in LONG:
            used.add(what)
        else:
            found.append(text)
    for path, lines in tree('src', 'test', 'bench'):
        most = FILE_LINES if path.startswith('src/') else TEST_LINES
        if len(lines) - 1 > most:
            over(path, f'{path}: {len(lines) - 1} lines, more than {most}: split it by noun')
        for n, head, length in functions(lines):
            if path.startswith('src/') and length > FUNCTION_LINES:
                over(called(head), f'{path}:{n}: {length} lines, more than {FUNCTION_LINES}: {head}')
    verdict(found + unneeded(LONG, used))


@case('words', boxed=False)
def words():
    """Calls that do not know how much room there is or cannot fail, notes to self, paths of somebody's machine."""
    bad = re.compile(r'\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atoll|alloca)\s*\(|'
                     r'\b(TODO|FIXME|XXX)\b|["\s]/(home|root|work)/')
    found = []
    for path, lines in tree('src', 'bench', 'scripts', 'proto', ends=CODE + OTHER):
        for n, line in enumerate(lines, 1):
            m = bad.search(re.sub(r'/\*.*?\*/', '', line) if '(' in line else line)
            if m:
                found.append(f'{path}:{n}: {m.group(0).strip()}')
    verdict(found)


def layer(path):
    for i, row in enumerate(LAYERS):
        if any(path == x or path.startswith(x + '/') for x in row):
            return i
    return None


@case('layers', boxed=False)
def layers():
    found = []
    for path, lines in tree('src', ends=('.c', '.h')):
        here = layer(path[4:])
        for n, line in enumerate(lines, 1):
            m = re.match(r'#include "([^"]+)"', line)
            if not m or m.group(1).endswith('.pb-c.h'):
                continue
            there = layer(m.group(1))
            if path.startswith('src/pie/'):
                if not m.group(1).startswith('pie/'):
                    found.append(f'{path}:{n}: the blob uses {m.group(1)}')
            elif here is None or there is None or here < there:
                found.append(f'{path}:{n}: {m.group(1)} is of a later layer, or of none')
    verdict(found)


@case('names', boxed=False)
def names():
    """A file is a noun that is there once; what it exports begins with a word of its name, or of its folder's."""
    found, used, seen = [], set(), {}
    for path, lines in tree('src', ends=('.c',)):
        folder, stem = os.path.basename(os.path.dirname(path)), os.path.basename(path)[:-2]
        if stem in seen:
            found.append(f'{path}: {seen[stem]} has the same name')
        seen[stem] = path
        nouns = stem.split('_') + [folder, stem.replace('_', '')] + (['r' + stem] if folder == 'restore' else [])
        for n, head, _ in functions(lines):
            name = called(head)
            if head.startswith(('static', '_Noreturn static')) or '(' not in head or name == 'main':
                continue
            word = name.split('_')[0]
            if any(word == x or word + 's' == x or word == x + 's' for x in nouns):
                continue
            why = next((x for x in NAMES if path.startswith(x)), None)
            used.add(why)
            if not why:
                found.append(f'{path}:{n}: {name} does not begin with a word of {"/".join(nouns)}')
    verdict(found + unneeded(NAMES, used))


def objects():
    """The project's objects in the build directory, relative to it, without the blob's and generated ones."""
    out = [p[len('src/'):-len('.c')] + '.o' for p, _ in tree('src', ends=('.c',)) if not p.startswith('src/pie/')]
    if not all(os.path.exists(os.path.join(box.BUILD, o)) for o in out):
        raise Skipped('thaw is not built')
    return out


def symbols(argv):
    return subprocess.run(argv, cwd=box.BUILD, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


@case('calls', boxed=False)
def calls():
    """Every exported function is called from another file: else it is static, or nobody needs it."""
    defined, wanted = {}, set()
    for line in symbols(['nm', '-A', *objects()]):
        o, kind, name = line.split(':')[0], *line.split()[-2:]
        if kind == 'T':
            defined[name] = o
        elif kind in 'Uw':
            wanted.add(name)
    words_of_tests = set()
    for _, lines in tree('test/unit', 'test/golden', ends=('.c', '.h')):
        words_of_tests.update(re.findall(r'\w+', '\n'.join(lines)))
    found, used = [], set()
    for name, o in sorted(defined.items()):
        with open(os.path.join(box.TOP, 'src', o[:-2] + '.c'), encoding='utf-8') as f:
            here = len(re.findall(rf'\b{name}\b', f.read()))
        # a part of its file's work that the tests want to see alone may be exported
        if name == 'main' or name in wanted or (here > 1 and name in words_of_tests):
            continue
        if name in UNCALLED:
            used.add(name)
        else:
            why = 'only tests call it' if name in words_of_tests else 'make it static' if here > 1 else 'nobody calls it'
            found.append(f'src/{o[:-2]}.c: {name}: {why}')
    verdict(found + unneeded(UNCALLED, used))


@case('globals', boxed=False)
def globals_():
    """No data that is written after start, but what ARCHITECTURE.md names."""
    found, used = [], set()
    o = None
    for line in symbols(['objdump', '-t', *objects()]):
        if ': ' in line:
            o = line.split(':')[0]
        m = re.search(r' (\.data|\.bss|\.tbss|\.tdata)(\.(?!rel\.ro)\S*)?\t\S+ (?:\.hidden )?(\S+)$', line)
        if not m or m.group(3).startswith('.'):
            continue
        if o in WRITTEN:
            used.add(o)
        else:
            found.append(f'src/{o[:-2]}.c: {m.group(3)} can be written')
    verdict(found + unneeded(WRITTEN, used))


@case('headers', boxed=False)
def headers():
    """Each header can be included alone."""
    gen = os.path.join(box.BUILD, 'gen')
    if not os.path.isdir(gen):
        raise Skipped('thaw is not built')
    found = []
    for path, _ in tree('src', ends=('.h',)):
        argv = ['gcc', '-std=gnu17', '-D_GNU_SOURCE', '-Isrc', f'-I{gen}', f'-I{gen}/proto', '-fsyntax-only',
                '-Wall', '-Wextra', '-Werror', '-Wno-unused-function', '-include', path, '-x', 'c', '/dev/null']
        if path.startswith('src/pie/'):
            argv.insert(1, '-ffreestanding')
        r = subprocess.run(argv, cwd=box.TOP, stderr=subprocess.PIPE, text=True)
        if r.returncode:
            found.append(f'{path}: {next((x for x in r.stderr.splitlines() if "error" in x), r.stderr)}')
    verdict(found)
