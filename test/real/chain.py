# SPDX-License-Identifier: Apache-2.0
"""A Python program with threads and asyncio, to be dumped in the middle of its work; and the arithmetic by which
whoever asks it knows whether a single step was lost or done twice.

    chain.py PORT    serves one line per connection: "add N" -> "COUNT DIGEST", "threads" -> "COUNT VALUE" each

Four threads step a generator under a lock that they share; an asyncio server keeps a chain of digests over what it was
sent; an asyncio ticker and a queue between a thread and the loop go on beside them.
"""
import asyncio
import hashlib
import sys
import threading
import time

A, C, M = 6364136223846793005, 1442695040888963407, 1 << 64
THREADS = 4


def stepped(seed, n):
    """The value of the generator after n steps from seed, in O(log n)."""
    mul, add, a, c = 1, 0, A, C
    while n:
        if n & 1:
            mul, add = mul * a % M, (add * a + c) % M
        a, c, n = a * a % M, (a + 1) * c % M, n >> 1
    return (mul * seed + add) % M


def chained(digest, n):
    return hashlib.sha256(f'{digest} {n}'.encode()).hexdigest()


class Program:
    def __init__(self):
        self.count, self.digest, self.ticks, self.queued = 0, '', 0, 0
        self.lock = threading.Lock()
        self.steps = [[0, i] for i in range(THREADS)]

    def step(self, i):
        s = self.steps[i]
        while True:
            for _ in range(50):
                with self.lock:
                    s[0], s[1] = s[0] + 1, (A * s[1] + C) % M
            time.sleep(0.001)

    def feed(self, loop, queue):
        while True:
            asyncio.run_coroutine_threadsafe(queue.put(1), loop).result()
            time.sleep(0.01)

    async def tick(self):
        while True:
            await asyncio.sleep(0.01)
            self.ticks += 1

    async def drain(self, queue):
        while True:
            self.queued += await queue.get()

    async def serve(self, reader, writer):
        words = (await reader.readline()).decode().split()
        if words[0] == 'add':
            self.count, self.digest = self.count + 1, chained(self.digest, words[1])
            answer = f'{self.count} {self.digest} {self.ticks} {self.queued}'
        else:
            with self.lock:
                answer = ' '.join(f'{n} {x}' for n, x in self.steps)
        writer.write(answer.encode() + b'\n')
        await writer.drain()
        writer.close()

    async def main(self, port):
        queue = asyncio.Queue()
        server = await asyncio.start_server(self.serve, '127.0.0.1', port)
        for i in range(THREADS):
            threading.Thread(target=self.step, args=(i,), daemon=True).start()
        threading.Thread(target=self.feed, args=(asyncio.get_running_loop(), queue), daemon=True).start()
        async with server:
            await asyncio.gather(self.tick(), self.drain(queue))


if __name__ == '__main__':
    asyncio.run(Program().main(int(sys.argv[1])))
