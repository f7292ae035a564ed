"""Each engine in turn. A server is started once, at its first use, and lives to the end of the session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from alto_streams.models.protocol import Engine
from tests.engines.servers import EngineServer
from tests.engines.subjects import MODELS, NAMES, Subject, server_of, subject_of
from tests.unit.engines import local_missing


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a model is not made for engines that run no weights."""
    if "_server" in metafunc.fixturenames:
        names = [name for name in NAMES if name in MODELS or "model" not in metafunc.fixturenames]
        metafunc.parametrize("_server", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, EngineServer | None]]:
    name: str = request.param
    if name == "local" and (missing := local_missing()):
        pytest.skip(missing)
    with server_of(name, tmp_path_factory.mktemp(name)) as server:
        yield name, server


@pytest.fixture
async def subject(_server: tuple[str, EngineServer | None]) -> AsyncIterator[Subject]:
    """An engine, with its server running."""
    name, server = _server
    if server is not None and not server.is_up:
        server.start()
    async with subject_of(name, server) as found:
        await found.engine.ready()
        yield found


@pytest.fixture
def engine(subject: Subject) -> Engine:
    """The engine alone."""
    return subject.engine


@pytest.fixture
def model(engine: Engine) -> Engine:
    """An engine with real weights."""
    return engine
