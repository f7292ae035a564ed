"""Ctrl-C and SIGTERM end the work in progress in order; a second one ends it at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal asked this process to end; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


@asynccontextmanager
async def ends_on_signals() -> AsyncIterator[None]:
    """Each SIGINT or SIGTERM cancels the current task, so that what it has open is closed on the way out.

    Raises:
        Interrupted: a signal came; everything inside has been closed by then.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None  # noqa: S101  always so inside a coroutine
    seen: list[int] = []

    def cancel(number: int) -> None:
        seen.append(number)
        task.cancel()

    for number in ENDING:
        loop.add_signal_handler(number, cancel, number)
    try:
        yield
    except asyncio.CancelledError:
        if not seen:
            raise
        for _ in seen:
            task.uncancel()
        raise Interrupted(seen[0]) from None
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)
