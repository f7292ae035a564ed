"""Trying until it works."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from alto_streams.errors import Fenced, Retryable
from alto_streams.parts import Backoff

log = logging.getLogger(__name__)


async def insist(action: Callable[[], Awaitable[object]]) -> None:
    """Try until it works: a record is never acknowledged without what follows from it."""
    backoff = Backoff()
    while True:
        try:
            await action()
        except Retryable as error:
            wait_s = backoff.next_s()
            log.warning("%s; trying again in %.1f s", error, wait_s)
            await asyncio.sleep(wait_s)
        else:
            return


async def insist_while(owned: Callable[[], bool], action: Callable[[], Awaitable[object]]) -> None:
    """The same for what nobody's record asks for again, such as a timer: also where the fence is in the way, until the
    partition is given up. A heartbeat may only have been late, and whoever keeps a partition arms no timer anew."""
    backoff = Backoff()
    while owned():
        try:
            await insist(action)
            break
        except Fenced as error:
            wait_s = backoff.next_s()
            log.info("%s; trying again in %.1f s", error, wait_s)
            await asyncio.sleep(wait_s)
