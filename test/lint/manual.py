# SPDX-License-Identifier: Apache-2.0
"""What is written for users against what there is: options, sub-commands, man pages, what `make install` installs."""
import os
import re
import shutil
import subprocess

import box
from box import Skipped, check
from case import case

MAN = os.path.join(box.TOP, 'doc')
FOREIGN = {'doc/benchmark.md'}  # options of bench/run


def read(path):
    with open(os.path.join(box.TOP, path), encoding='utf-8') as f:
        return f.read()


def texts():
    """(path, text) of all that users read."""
    for path in ['README.md'] + sorted(f'doc/{x}' for x in os.listdir(MAN) if x.endswith(('.md', '.in'))):
        yield path, read(path).replace('\\-', '-').replace('\\', '')


def commands():
    """The sub-commands, as thaw lists them."""
    out = subprocess.run([box.THAW, '--help'], capture_output=True, text=True, check=True).stdout
    return re.findall(r'^  ([a-z-]+) +\S', out.split('Sub-commands:\n')[1].split('\n\n')[0], re.M)


def made(*words):
    env = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS')}
    r = subprocess.run(['make', '-s', '-C', box.TOP, f'B={box.BUILD}', *words], capture_output=True, text=True, env=env)
    check(r.returncode == 0, f'make {words}: {r.stdout + r.stderr}')


@case('options named', boxed=False)
def options_named():
    """No text speaks of an option that thaw has not."""
    table = read('src/base/opts.def')
    known = set(re.findall(r'^(?:OPT\(\w+, *|KNOWN\()"([a-z-]+)"', table, re.M))
    check(len(known) > 60, 'the table of options cannot be read')
    for path, text in texts():
        for name in re.findall(r'(?<![\w-])--([a-z][a-z-]*[a-z])', text):
            if path not in FOREIGN:
                check(name in known or name.removeprefix('no-') in known or name == 'no', f'{path}: there is no option --{name}')


@case('commands named', boxed=False)
def commands_named():
    """Each sub-command has a page, and thaw(1) and the README name it."""
    names = commands()
    check(len(names) >= 10, f'sub-commands: {names}')
    main, readme = dict(texts())['doc/thaw.1.in'], read('README.md')
    for name in names:
        check(os.path.exists(f'{MAN}/thaw-{name}.1.in'), f'thaw {name} has no man page')
        check(main.count(f'thaw-{name} (1)') >= 2, f'thaw(1) does not name thaw-{name} twice')
        check(f'thaw {name}' in readme, f'the README does not name thaw {name}')


@case('man pages', boxed=False)
def man_pages():
    if not shutil.which('groff'):
        raise Skipped('there is no groff')
    made('man-lint')


@case('install', boxed=False)
def install():
    """`make install` installs a thaw that finds its library, pages for all commands, and a unit that names it."""
    made('install', f'DESTDIR={os.getcwd()}', 'PREFIX=/opt/x')
    for name in commands():
        check(os.path.exists(f'opt/x/share/man/man1/thaw-{name}.1'), f'thaw-{name}.1 is missing')
    with open('opt/x/lib/systemd/system/thaw-gpu-agent.service') as f:
        check('ExecStart=/opt/x/bin/thaw gpu-agent' in f.read(), 'the unit starts another thaw')
    r = subprocess.run(['opt/x/bin/thaw', 'run', 'true'], capture_output=True, text=True)
    check(r.returncode == 0, f'the installed thaw run: {r.stderr}')


@case('without liburing', boxed=False)
def without_liburing():
    """Whatever asks for liburing compiles without it, too."""
    gen = os.path.join(box.BUILD, 'gen')
    files = [os.path.join(d, x) for d, _, names in os.walk(os.path.join(box.TOP, 'src')) for x in names if x.endswith('.c')]
    files = [x for x in files if 'HAVE_LIBURING' in read(x)]
    check(files, 'nothing uses liburing')
    for x in files:
        r = subprocess.run(['gcc', '-std=gnu17', '-D_GNU_SOURCE', f'-I{box.TOP}/src', f'-I{gen}', f'-I{gen}/proto', '-Wall', '-Wextra',
                            '-Werror', '-fsyntax-only', x], capture_output=True, text=True)
        check(r.returncode == 0, r.stderr)
