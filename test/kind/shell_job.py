# SPDX-License-Identifier: Apache-2.0
"""--shell-job: a job moves from one terminal to another, which gets the mode, the size and the foreground group of
the first. The job is cat: what is typed at the terminal comes back."""
import fcntl
import os
import select
import signal
import struct
import termios

import box
from box import check
from case import case


def session(argv):
    """Starts argv as the foreground job of a session on a new terminal, as a shell does. (master, the job's PID)"""
    told, tell = os.pipe()
    shell, master = os.forkpty()
    if shell == 0:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.write(tell, b'%d\n' % os.getpid())
            os.closerange(3, 64)
            os.execv(argv[0], argv)
        while True:  # the shell stays, whatever its job does
            signal.pause()
    os.close(tell)
    with os.fdopen(told) as f:
        return master, int(f.readline())


def comes(master, text):
    """Fails unless text comes out of the terminal next; echoed or not, it must come once."""
    got = b''
    while select.select([master], [], [], 1 if len(got) >= len(text) else 10)[0]:
        got += os.read(master, 4096)
        if len(got) >= len(text):
            break
    check(got == text, f'the terminal says {got!r}, not {text!r}')


def resize(master):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('4H', 33, 101, 0, 0))


def echo_off(master):
    mode = termios.tcgetattr(master)
    mode[3] &= ~termios.ECHO
    mode[6][termios.VINTR] = b'\x07'
    termios.tcsetattr(master, termios.TCSANOW, mode)


def job():
    """A cat that has read a line on a terminal of 33 x 101."""
    master, cat = session(['/bin/sh', '-c', 'exec 5<>/dev/tty; exec cat'])
    resize(master)
    echo_off(master)
    os.write(master, b'one\n')
    comes(master, b'one\r\n')
    box.until(lambda: box.state(cat) == 'S')
    return master, cat


@case('shell_job/moved')
def moved():
    master, cat = job()
    box.dump(cat, 'images', '--shell-job')
    box.until(lambda: box.state(cat) in ('', 'Z'))
    box.kill_all()
    other, thaw = session([box.THAW, 'restore', '-D', 'images', '-o', os.path.abspath('restore.log'), '-v4', '--shell-job'])
    box.until(lambda: box.state(cat) == 'S')
    os.write(other, b'two\n')
    comes(other, b'two\r\n')
    check(fcntl.ioctl(other, termios.TIOCGWINSZ, b'\0' * 8)[:4] == struct.pack('2H', 33, 101), 'the size of the terminal')
    mode = termios.tcgetattr(other)
    check(not mode[3] & termios.ECHO and mode[6][termios.VINTR] == b'\x07', 'the mode of the terminal')
    links = {os.readlink(f'/proc/{pid}/fd/{fd}') for pid in (cat, thaw) for fd in range(3)}
    check(len(links) == 1, f'not the same terminal: {links}')
    check(os.readlink(f'/proc/{cat}/fd/5') == '/dev/tty', 'the descriptor of /dev/tty')
    check(os.tcgetpgrp(other) == cat, 'the job is in the background')
    os.write(other, b'\x07')  # the terminal's interrupt character, for the foreground group
    box.until(lambda: box.state(cat) in ('', 'Z'))
    box.until(lambda: box.state(thaw) in ('', 'Z'))


@case('shell_job/refused')
def refused():
    master, cat = job()
    box.refused(box.thaw('dump', 'images', '-t', cat), '--shell-job')
    os.write(master, b'two\n')
    comes(master, b'two\r\n')



@case('shell_job/session')
def whole_session():
    master, cat = job()
    with open(f'/proc/{cat}/stat') as f:
        shell = int(f.read().rsplit(')', 1)[1].split()[1])
    box.refused(box.thaw('dump', 'images', '-t', shell, '--shell-job'), 'whose session')
    os.write(master, b'two\n')
    comes(master, b'two\r\n')
