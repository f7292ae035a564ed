"""An open load of fact checks, each followed by a client that must hear every event once, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alto_streams.client import Client, ClientEvent
from alto_streams.errors import EventsLost, PartDown, ProblemError
from alto_streams.parts import Backoff

GIVE_UP_S = 300.0  # without any gateway: on a machine short of processors the client itself may not get to connect
ENDED_S = 600.0  # past it a request is lost: far more than any recovery takes, also on a machine with other work

Row = dict[str, Any]


@dataclass(slots=True)
class Asked:
    """One request as its client saw it. Times in seconds since the run began; `heard` is every event that arrived.

    An event that came although it had been heard before is in `heard` too: the client itself would drop it.
    """

    number: int
    row: Row
    offered_s: float
    id: str = ""
    accepted_s: float | None = None
    heard: list[tuple[float, ClientEvent]] = field(default_factory=list)
    ended_s: float | None = None
    trouble: str = ""

    def times(self) -> list[float]:
        """When it was accepted, when each event came, and when it ended."""
        if self.accepted_s is None:
            return []
        last = [self.ended_s] if self.ended_s is not None else []
        return [self.accepted_s, *(at for at, _ in self.heard), *last]


class Witness(Client):
    """A client that tells of every event that reaches it, before it drops what it has heard already."""

    def __init__(self, gateways: Sequence[str], note: Callable[[ClientEvent], None]) -> None:
        super().__init__(gateways, give_up_s=GIVE_UP_S)
        self._note = note

    async def _connected(self, request: str, last: int, trouble: Any) -> AsyncGenerator[ClientEvent, None]:
        async with aclosing(super()._connected(request, last, trouble)) as heard:
            async for event in heard:
                self._note(event)
                yield event


def read_rows(path: Path) -> list[Row]:
    """The recorded fact checks."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


class Load:
    """Offers requests at Poisson instants, `rate` a second, until `enough` says so; rows come in a shuffled order."""

    def __init__(self, gateways: Sequence[str], rows: Sequence[Row], rate: float, seed: int, began: float) -> None:
        self._gateways, self._rows, self._rate, self._began = list(gateways), list(rows), rate, began
        self._rng = random.Random(seed)
        self.asked: list[Asked] = []
        self.done = 0

    async def run(self, enough: Callable[[], bool]) -> None:
        """Returns when every request that was offered has ended, well or not."""
        deck: list[Row] = []
        at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not enough():
                at += self._rng.expovariate(self._rate)
                await asyncio.sleep(at - time.monotonic())
                if not deck:
                    deck = self._rng.sample(self._rows, len(self._rows))
                asked = Asked(len(self.asked), deck.pop(), self._now())
                self.asked.append(asked)
                group.create_task(self._one(asked))

    async def _one(self, asked: Asked) -> None:
        try:
            async with asyncio.timeout(ENDED_S):
                await self._follow(asked)
        except (ProblemError, EventsLost, PartDown) as error:
            asked.trouble = f"{type(error).__name__}: {error}"
        except TimeoutError:
            asked.trouble = f"no end within {ENDED_S:g} s"
        asked.ended_s = self._now()
        self.done += 1

    async def _follow(self, asked: Asked) -> None:
        turn = asked.number % len(self._gateways)
        gateways = self._gateways[turn:] + self._gateways[:turn]
        witness = Witness(gateways, lambda event: asked.heard.append((self._now(), event)))
        async with witness as client:
            asked.id = await self._submit(client, asked)
            asked.accepted_s = self._now()
            async for _ in client.events(asked.id):
                pass

    async def _submit(self, client: Client, asked: Asked) -> str:
        """With a key, so that a try that broke off in the middle can be made again: it is one request."""
        key, backoff, until = f"chaos-{self._rng.getrandbits(64):x}", Backoff(), time.monotonic() + GIVE_UP_S
        while True:
            try:
                return await client.submit("factcheck", {"prompt": asked.row["prompt"]}, idempotency_key=key)
            except PartDown:  # every gateway was away at once
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(backoff.next_s())

    def _now(self) -> float:
        return time.monotonic() - self._began
