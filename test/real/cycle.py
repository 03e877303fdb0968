# SPDX-License-Identifier: Apache-2.0
"""The two things that every real program goes through: ten dumps, deaths and restores in a row, and dumps that leave
it running under its load."""
import os
import shutil

import box

CYCLES = 10


def ten(root, ask, *options):
    """Ten cycles, memory filled serially and in parallel in turn; ask() after each must find the program right."""
    for n in range(CYCLES):
        images = f'images{n}'
        box.dump(root, images, *options)
        box.wait_gone(root)
        box.nothing_left(f'after dump {n + 1}')
        box.restore(images, *box.FILL['parallel' if n % 2 else 'serial'], *options)
        try:
            ask()
        except (OSError, box.Failed) as e:
            raise box.Failed(f'after restore {n + 1}: {e}') from e
        shutil.rmtree(images)


def left_running(root, ask, *options, times=10):
    """Dumps that leave the program running; the last images stay, in images-last."""
    for n in range(times):
        shutil.rmtree('images-last', ignore_errors=True)
        os.mkdir('images-last')
        box.dump(root, 'images-last', '--leave-running', *options)
        try:
            ask()
        except (OSError, box.Failed) as e:
            raise box.Failed(f'after dump {n + 1} with --leave-running: {e}') from e
