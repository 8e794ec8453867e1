# SPDX-License-Identifier: MIT
"""Work that is done in a forked child, which may not live to its end."""

import os
import traceback


def in_child(work):
    """What the child tells its parent, in bytes, and how it ended: 0, or less a signal's number.

    Args:
        work: Called in the child with what tells the parent some bytes.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(lambda told: os.write(writing, told))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as file:
        told = file.read()
    _, status = os.waitpid(child, 0)
    return told, os.waitstatus_to_exitcode(status)
