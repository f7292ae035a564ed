"""Free ports stay free of connections until their servers have started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from alto_streams.local import ports
from alto_streams.settings import ConfigError


@pytest.fixture
def ephemeral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "_EPHEMERAL", file)
    return file


@pytest.mark.parametrize("told", ["32768\t60999\n", "20000\t65535\n", None])
def test_no_port_is_one_that_a_connection_could_be_given(ephemeral: Path, told: str | None) -> None:
    if told is not None:
        ephemeral.write_text(told)
    low, high = (int(bound) for bound in told.split()) if told else (32768, 65535)
    found = ports.free_ports(50)
    assert len(set(found)) == 50
    assert not [port for port in found if low <= port <= high]


def test_where_connections_may_have_every_port_any_is_taken(ephemeral: Path) -> None:
    ephemeral.write_text("1024\t65535\n")
    assert len(set(ports.free_ports(3))) == 3


def test_a_port_that_is_listened_on_is_left_out_and_too_few_are_an_error(
    ephemeral: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, free = ports.free_ports(2)
    monkeypatch.setattr(ports, "_candidates", lambda: [taken, free])
    with socket.socket() as server:
        server.bind(("127.0.0.1", taken))
        server.listen()
        assert ports.free_ports(1) == [free]
        with pytest.raises(ConfigError, match="no 2 free ports"):
            ports.free_ports(2)
