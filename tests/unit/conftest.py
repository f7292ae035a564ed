"""Engines for the tests: one process of the local model serves all those that do not end it. And a stage's log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.models.simulated import Timing
from tests.unit.engine_servers import FakeVllm, serving
from tests.unit.engines import AnyEngine, local_missing, local_server, recorded
from tests.unit.stage_worker import Log, Table

FAST = Timing(base_s=0.0005, running_s=0.0, prefill_s=0.0)


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


@pytest.fixture(params=["scripted", "scripted-timed", "vllm", "local"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AnyEngine]:
    """Each kind of engine in turn."""
    found: AnyEngine
    if request.param.startswith("scripted"):
        found = ScriptedEngine(recorded, timing=FAST if request.param.endswith("timed") else None)
        yield found
    elif request.param == "vllm":
        async with serving(FakeVllm().app()) as address:
            found = OpenAIEngine(address)
            yield found
            await found.close()
            return
    else:
        found = OpenAIEngine(request.getfixturevalue("local_address"))
        yield found
    await found.close()


@pytest.fixture
def table() -> Table:
    """The changelog of a stage that `stage_worker.worker` runs."""
    return Table()


@pytest.fixture
def log() -> Log:
    """What such a stage sends."""
    return Log()
