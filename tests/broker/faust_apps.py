"""Faust workers for broker tests: the same scenario on stock Faust and on our transport, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from alto_streams.local import ping
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.worker.app import faust_options, new_app

SESSION_S, HEARTBEAT_S = 6.0, 0.5
REGISTERED_S = 60.0
KINDS = pytest.mark.parametrize("kind", ["stock", "ours"])
_numbers = itertools.count()


def unique(name: str) -> str:
    """A name that no other test of this session's broker uses."""
    return f"{name}-{os.getpid()}-{next(_numbers)}"


def settings_for(url: str, folder: Path, **changes: Any) -> Settings:
    """A worker's settings with a short session."""
    chosen: dict[str, Any] = {"broker": url, "var": folder, "session_timeout_s": SESSION_S, "heartbeat_s": HEARTBEAT_S}
    return Settings.model_validate({**chosen, **changes})


def make_app(kind: str, app_id: str, settings: Settings, **options: Any) -> Any:
    """A worker's app, `kind` "ours" or "stock", otherwise with the same settings."""
    if kind == "ours":
        return new_app(app_id, settings, **options)
    return faust.App(app_id, **{**faust_options(app_id, settings), **options})


def agent(app: Any, topic: str) -> Callable[[Callable[[Any], Awaitable[None]]], Any]:
    """Faust's agent decorator for a topic of bytes, with a type."""
    decorate: Callable[[Callable[[Any], Awaitable[None]]], Any] = app.agent(
        app.topic(topic, key_type=bytes, value_type=bytes)
    )
    return decorate


async def create_topics(url: str, partitions: int, *names: str, **configs: str) -> None:
    """Creates topics and returns when the broker tells who leads them.

    A broker that stood still for longer than its session refuses them at first, for it is not registered.
    """
    host, port = bootstrap_servers(url)[0].rsplit(":", 1)
    end = time.monotonic() + REGISTERED_S
    while True:
        assert await asyncio.to_thread(ping.wait_until, partial(ping.kafka_answers, host, int(port)), REGISTERED_S)
        with contextlib.suppress(AttributeError):  # what aiokafka makes of an answer that names no broker
            if await _created(url, partitions, names, configs):
                return
        assert time.monotonic() < end, f"not within {REGISTERED_S:g} s: topics {', '.join(names)}"
        await asyncio.sleep(0.05)


async def _created(url: str, partitions: int, names: tuple[str, ...], configs: dict[str, str]) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers(url))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs) for name in names])
        led = {each["topic"] for each in await admin.describe_topics() if _is_led(each)}
        return led.issuperset(names)
    finally:
        await admin.close()


def _is_led(topic: dict[str, Any]) -> bool:
    return bool(topic["partitions"]) and all(each["leader"] >= 0 for each in topic["partitions"])


@asynccontextmanager
async def running(*apps: Any) -> AsyncIterator[None]:
    """Apps started, and stopped in the end unless the test has stopped them."""
    try:
        for app in apps:
            await app.start()
        yield
    finally:
        for app in apps:
            if app.started and not app.should_stop:
                await app.stop()
            thread = app.consumer._thread
            if not thread.started and thread.thread_loop is not app.loop:  # stock Faust makes it for producers too
                thread.thread_loop.close()


async def until(true: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    """Waits for a condition; fails with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(0.02)


async def committed(url: str, group: str) -> dict[tuple[str, int], int]:
    """What the broker has as the group's committed offsets."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers(url))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
        return {(tp.topic, tp.partition): at.offset for tp, at in offsets.items()}
    finally:
        await admin.close()
