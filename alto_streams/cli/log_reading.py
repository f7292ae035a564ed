"""What commands that read the log share: times, names of pipelines, and how they fail."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from alto_streams.define.loading import load_pipelines
from alto_streams.errors import CommandFailed, ConfigError
from alto_streams.settings import settings

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
T = TypeVar("T")


def since_of(text: str, now_s: float, option: str) -> int:
    """A time as milliseconds since the epoch: `90s`, `15m`, `2h` or `3d` ago, or an ISO time (UTC unless it says so).

    Raises:
        ConfigError: it is neither.
    """
    ago = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if ago is not None:
        return max(0, int((now_s - int(ago[1]) * SECONDS[ago[2]]) * 1000))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: expected 90s, 15m, 2h, 3d, or a time such as 2030-01-31T12:00") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def pipelines_of(name: str | None) -> list[str]:
    """The one of that name, or all that are known. Raises `ConfigError` if there is none."""
    known = load_pipelines(settings().pipelines)
    if name is not None and name not in known:
        raise ConfigError(f"--pipeline {name}: there is none of that name; known: {', '.join(known)} (ALTO_PIPELINES)")
    return list(known) if name is None else [name]


def read_log(reading: Coroutine[Any, Any, T]) -> T:
    """Runs what reads the log.

    Raises:
        CommandFailed: what is wanted is not there.
        PartDown: the broker does not answer.
    """
    from alto_streams.errors import NotInLog

    kafka = logging.getLogger("aiokafka")
    level = kafka.level
    kafka.setLevel(logging.CRITICAL)  # what it has to say of a broker that does not answer is said by the error
    try:
        return asyncio.run(reading)
    except NotInLog as error:
        raise CommandFailed(str(error)) from None
    finally:
        kafka.setLevel(level)
