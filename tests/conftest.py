"""Servers that tests share: one of each a session, started at first use; if a test kills one, the next revives it.

And Hypothesis as all tests want it: how long an example takes says more about the machine than about the code.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.broker.brokers import Kafka, Server, Tansu, Unavailable, Valkey, revived

settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")

SKIPPED = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def _kafka(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    try:
        server = Kafka(tmp_path_factory.mktemp("kafka"))
    except Unavailable as missing:
        request.config.stash[SKIPPED] = str(missing)
        pytest.skip(f"Apache Kafka: {missing}")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _tansu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Tansu("tansu", tmp_path_factory.mktemp("tansu"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Valkey("valkey", tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kafka(_kafka: Server) -> Server:
    """Apache Kafka; the test is skipped, loudly, where Java or Maven is missing."""
    return revived(_kafka)


@pytest.fixture
def tansu(_tansu: Server) -> Server:
    """The embedded broker."""
    return revived(_tansu)


@pytest.fixture
def redis(_redis: Server) -> Server:
    """A Redis server (Valkey); what earlier tests wrote is still there, so use keys of your own."""
    return revived(_redis)


@pytest.fixture(params=["tansu", "kafka"])
def broker(request: pytest.FixtureRequest) -> Server:
    """The same scenario against each broker."""
    server: Server = request.getfixturevalue(request.param)
    return server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A skipped broker must be seen at the end of the run, not searched for."""
    if (why := config.stash.get(SKIPPED, None)) is not None:
        terminalreporter.section("APACHE KAFKA SCENARIOS WERE SKIPPED", red=True, bold=True)
        terminalreporter.line(f"{why}. Everything that only real Apache Kafka can show is untested in this run.")
