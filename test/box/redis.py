# SPDX-License-Identifier: Apache-2.0
"""redis-server in a box: the server, a small client, and a client that counts and never gives up.

Both the demo and the test of redis use it. The clients speak RESP themselves, so that nothing hides a lost
connection or sends a command twice.
"""
import os
import socket
import threading
import time

import box

PORT = 6399


def server_start(*options, program=('redis-server',)):
    """Starts redis-server, which keeps everything in memory; returns its PID when it answers."""
    pid = box.spawn([*program, '--port', str(PORT), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no',
                     '--enable-debug-command', 'yes', '--dir', os.getcwd(), '--logfile', 'redis.log', *options])

    def answers():
        """redis-server to answer"""
        try:
            with Client() as c:
                return c('PING') == 'PONG'
        except OSError:
            box.check(box.state(pid) not in ('', 'Z'), 'redis-server does not start, see redis.log')
            return False
    box.until(answers)
    return pid


class Client:
    """One connection: client('SET', 'key', 'value') returns the reply. OSError when it breaks."""

    def __init__(self, timeout=120):
        self.s = socket.create_connection(('127.0.0.1', PORT), timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.f = self.s.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.f.close()
        self.s.close()

    def __call__(self, *words):
        words = [str(w).encode() for w in words]
        self.s.sendall(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
        return self._reply()

    def _reply(self):
        line = self.f.readline()
        if not line.endswith(b'\r\n'):
            raise ConnectionResetError('redis-server closed the connection')
        kind, text = line[:1], line[1:-2].decode()
        if kind == b'+':
            return text
        if kind == b':':
            return int(text)
        if kind == b'$':
            n = int(text)
            return None if n < 0 else self.f.read(n + 2)[:-2].decode(errors='replace')
        if kind == b'*':
            return [self._reply() for _ in range(int(text))]
        raise box.Failed(f'redis-server says: {text}')


class Counter(threading.Thread):
    """Increments a counter all the time and connects again when the server goes away.

    An answer is wrong unless the counter goes on exactly from the last answer; for each request whose answer got lost
    with a connection it may be one further. self.wrong is the first such answer, as a sentence."""

    def __init__(self, key='counter'):
        super().__init__(daemon=True)
        self.key, self.value, self.answers, self.connections, self.unsure = key, 0, 0, 0, 0
        self.wrong, self.silence, self.told = None, 0.0, time.monotonic()
        self.go, self.idle, self.stop = threading.Event(), threading.Event(), False
        self.go.set()
        self.start()

    def run(self):
        while not self.stop:
            try:
                with Client(timeout=60) as c:
                    self.connections += 1
                    while not self.stop:
                        if not self.go.is_set():
                            self.idle.set()
                            self.go.wait()
                            self.idle.clear()
                        self.unsure += 1
                        self._take(c('INCR', self.key))
            except OSError:
                time.sleep(0.01)
            except box.Failed as e:
                self.wrong = self.wrong or str(e)

    def _take(self, v):
        now = time.monotonic()
        self.silence, self.told = max(self.silence, now - self.told), now
        if not self.value < v <= self.value + self.unsure:
            self.wrong = self.wrong or f'the counter went from {self.value} to {v} ({self.unsure} answers were awaited)'
        self.value, self.unsure = v, 0
        self.answers += 1

    def silence_take(self):
        """The longest time without an answer since the last call."""
        s, self.silence = self.silence, 0.0
        return s

    def moved(self, timeout=30):
        """Waits until there are new answers, and fails if any so far was wrong."""
        goal = self.answers + 50
        box.until(lambda: self.answers >= goal or self.wrong, timeout)
        box.check(not self.wrong, self.wrong)

    def __enter__(self):
        """with counter: ... runs while it pauses between two requests."""
        self.go.clear()
        if not self.idle.wait(60):
            raise box.Failed('the counting client got no answer for 60 s')
        return self

    def __exit__(self, *_):
        self.told = time.monotonic()
        self.go.set()


def digest(client, counter):
    """The digest of all of the server's data but the counter's, which is checked against what its client saw."""
    with counter:
        v = int(client('GETSET', counter.key, 0))
        d = client('DEBUG', 'DIGEST')
        client('SET', counter.key, v)
    box.check(counter.wrong is None, counter.wrong)
    box.check(v == counter.value, f'the counter is {v} in redis-server, its client last saw {counter.value}')
    return d
