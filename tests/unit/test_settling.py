"""What a worker still stores when it gives its partitions up, and for how long it tries."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from faust.types import TP

from alto_streams.settings import Settings
from alto_streams.worker import app as worker
from alto_streams.worker.app import App, new_app

HOME = "chunks.factcheck.claims"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(worker, "SETTLE_S", 0.05)
    app = new_app("settling", Settings(var=tmp_path))
    app.consumer = SimpleNamespace(sources=lambda: {TP(HOME, 0), TP(HOME, 1), TP("requests.factcheck", 0)})
    return app


async def test_a_stop_does_not_wait_for_a_broker_that_is_away(app: App, caplog: pytest.LogCaptureFixture) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    app.hold(HOME, {0: 7, 1: None}.get, never)
    await asyncio.wait_for(app.settle(), 60)
    assert (
        f"settling: rows were not stored within 0 s; given up, for the next owner to work on again: {HOME}-0 from 7"
        in (caplog.text)
    )
    assert f"{HOME}-1" not in caplog.text


async def test_what_can_be_stored_is_and_nothing_is_said(app: App, caplog: pytest.LogCaptureFixture) -> None:
    stored = []

    async def store() -> None:
        stored.append(HOME)

    app.hold(HOME, lambda _: 7, store)
    await app.settle()
    assert stored == [HOME]
    assert not caplog.records
