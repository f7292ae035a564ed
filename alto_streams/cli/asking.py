"""Sends one request and follows it to its end; whoever interrupts it, cancels the request."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Any

from alto_streams.cli.screens import JsonScreen, Screen
from alto_streams.client import Client
from alto_streams.errors import ProblemError, Retryable
from alto_streams.views.transcript import Transcript
from alto_streams.wire.client_event import ClientEvent
from alto_streams.wire.records import EventKind, Mode

CANCEL_S = 3.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask. `deadline`: seconds from the submission."""

    pipeline: str
    input: dict[str, Any]
    mode: Mode = Mode.STREAM
    deadline: float | None = None


async def ask(client: Client, asked: Asked, screen: Screen | None = None, cancel: str = "") -> Transcript:
    """The transcript of the whole request. Times count from just before the submission.

    `cancel`: the command that ends a request, for the screen to tell.

    Raises:
        ProblemError, PartDown, EventsLost: as the client.
    """
    transcript = Transcript()
    await follow(client, asked, transcript, screen, cancel)
    return transcript


async def follow(
    client: Client, asked: Asked, transcript: Transcript, screen: Screen | None = None, cancel: str = ""
) -> None:
    """The same into a transcript of the caller's, who still has it if this is cancelled."""
    began = time.monotonic()
    request = transcript.request = await client.submit(asked.pipeline, asked.input, asked.mode, asked.deadline)
    try:
        if screen is not None:
            screen.begin(request, f"to end it: {cancel} {request}" if cancel else "")
        # Whoever sends many at once, and shows none, is not told once for each.
        told = client.events(request) if screen is None else client.events(request, waiting=True)
        async for event in told:
            at_s = time.monotonic() - began
            if event.kind is EventKind.WAITING and screen is not None:
                _say_waiting(event, screen, transcript, at_s)
                continue
            transcript.hear(event, at_s)
            if screen is not None:
                screen.show(event, transcript, at_s)
    except asyncio.CancelledError:
        await _cancel(client, request, asked.pipeline)
        raise


def _say_waiting(event: ClientEvent, screen: Screen, transcript: Transcript, at_s: float) -> None:
    """On standard error, so that the request's own lines stay what they are; among the events where those are shown."""
    if isinstance(screen, JsonScreen):
        return screen.show(event, transcript, at_s)
    for each in event.body["waits_for"]:
        stages = ", ".join(each["stages"])
        print(f"waiting: the engine of model {each['model']} ({stages}): {each['cause']}", file=sys.stderr, flush=True)
    if not event.body["waits_for"]:
        print("waiting no more: the engines answer again", file=sys.stderr, flush=True)
    return None


async def _cancel(client: Client, request: str, pipeline: str) -> None:
    try:
        async with asyncio.timeout(CANCEL_S):
            await client.cancel(request, pipeline)
    except (Retryable, ProblemError, TimeoutError):
        pass  # it has ended already, or nobody can be told: the interruption is what the user asked for
