"""One process of the local model, for all tests of it that do not end it. And a stage's log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from alto_streams.models.openai import OpenAIEngine
from tests.unit.engines import local_missing, local_server
from tests.unit.stage_worker import Log, Table


@pytest.fixture(scope="session")
def local_address() -> Iterator[str]:
    if missing := local_missing():
        pytest.skip(missing)
    with local_server() as address:
        yield address


@pytest.fixture
async def served(local_address: str) -> AsyncIterator[OpenAIEngine]:
    """The local model."""
    engine = OpenAIEngine(local_address)
    await engine.ready()
    yield engine
    await engine.close()


@pytest.fixture
def table() -> Table:
    """The changelog of a stage that `stage_worker.worker` runs."""
    return Table()


@pytest.fixture
def log() -> Log:
    """What such a stage sends."""
    return Log()
