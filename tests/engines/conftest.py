"""Each engine in turn. A server is started once, at its first use, and lives to the end of the session."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from alto_streams.models.protocol import Engine
from alto_streams.models.vllm import VllmEngine
from tests.engines.in_process import InProcess
from tests.engines.servers import EngineServer
from tests.engines.subjects import MODELS, NAMES, Subject, server_of, subject_of
from tests.unit.engines import local_missing

# A test that asks for one of these is made for these engines only.
ONLY = {"model": MODELS, "served": ("local", "vllm-http"), "within": ("vllm",)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all: an engine within this process belongs to the one that it began in."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if "vllm" in NAMES:  # it loads for long, and has warnings of its own, wherever what it left is collected
                item.add_marker(pytest.mark.filterwarnings("default"))
                item.add_marker(pytest.mark.timeout(1500))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once for each engine that is asked for, and that the test is about."""
    if "_server" in metafunc.fixturenames:
        bounds = [names for fixture, names in ONLY.items() if fixture in metafunc.fixturenames]
        names = [name for name in NAMES if all(name in bound for bound in bounds)]
        others = f"is about {', '.join(bounds[0])}: ALTO_TEST_ENGINES names them" if bounds else ""
        none = pytest.param("", marks=pytest.mark.skip(reason=others))
        metafunc.parametrize("_server", names or [none], indirect=True, scope="session")


@pytest.fixture(scope="session")
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, EngineServer | InProcess | None]]:
    name: str = request.param
    if name == "local" and (missing := local_missing()):
        pytest.skip(missing)
    if name == "vllm" and importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here")
    with server_of(name, tmp_path_factory.mktemp(name)) as server:
        yield name, server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _closing(_server: tuple[str, EngineServer | InProcess | None]) -> AsyncIterator[None]:
    """An engine within this process ends before its event loop does."""
    yield
    if isinstance(_server[1], InProcess):
        await _server[1].engine.close()


@pytest_asyncio.fixture(loop_scope="session")
async def subject(_server: tuple[str, EngineServer | InProcess | None], _closing: None) -> AsyncIterator[Subject]:
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


@pytest.fixture
def served(subject: Subject) -> Subject:
    """One whose server is a process that can be killed."""
    return subject


@pytest.fixture
def within(engine: Engine) -> VllmEngine:
    """The one within this process."""
    assert isinstance(engine, VllmEngine)
    return engine
