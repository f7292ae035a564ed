"""Ends every process group it was told of once its parent is gone, however the parent died.

A process of its own, started by `supervisor`, standard library only. It reads `+PGID` and `-PGID` lines; the end of its
input means that the parent ended (a pipe closes even after SIGKILL). Groups, so that children of children end too.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TextIO

GRACE_S = 2.0


def watch(lines: TextIO) -> set[int]:
    """Reads until the parent is gone; the groups that it had not taken back."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def end(groups: set[int]) -> None:
    """SIGTERM to each group, SIGKILL to what is left of them after two seconds."""
    deadline = time.monotonic() + GRACE_S
    left = {group for group in groups if signal_group(group, signal.SIGTERM)}
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if signal_group(group, 0)}
    for group in left:
        signal_group(group, signal.SIGKILL)


def signal_group(group: int, number: int) -> bool:
    """Whether the group has a process left to signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    end(watch(sys.stdin))
