"""Says, while `up` runs, which engines do not answer and why, and when they are back: what `/healthz` knows of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import httpx

EVERY_S = 5.0
ANSWER_S = 5.0


async def tell_engines(gateway: str, say: Callable[[str], None]) -> None:
    """Goes on until it is cancelled; a line for each change."""
    known: dict[str, str] = {}
    async with httpx.AsyncClient(base_url=gateway, timeout=ANSWER_S) as http:
        while True:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = await http.get("/healthz")
                away = away_in(answer.json())
                for line in changes(known, away):
                    say(line)
                known = away
            await asyncio.sleep(EVERY_S)


def away_in(health: Mapping[str, Any]) -> dict[str, str]:
    """Model -> which engine of it is away, and why."""
    engines = health.get("engines", {}).items()
    return {model: f"{said['engine']}: {said['detail']}" for model, said in engines if not said["reachable"]}


def changes(known: Mapping[str, str], away: Mapping[str, str]) -> list[str]:
    """What is new of it, one line each."""
    lines = [f"model {model} waits: {why}" for model, why in away.items() if known.get(model) != why]
    return lines + [f"model {model}: its engine answers again" for model in known if model not in away]
