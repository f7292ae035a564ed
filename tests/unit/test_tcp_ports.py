"""Free ports stay free of connections until their servers have started."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from alto_streams.errors import ConfigError
from alto_streams.worker import tcp_ports as ports


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


def test_a_port_that_is_listened_on_is_left_out_and_too_few_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    (taken,) = ports.free_ports(1)
    with socket.create_server(("127.0.0.1", taken)):
        monkeypatch.setattr(ports, "_candidates", lambda: [taken])
        with pytest.raises(ConfigError, match="no 1 free ports"):
            ports.free_ports(1)


ASK = "from alto_streams.worker import tcp_ports as ports; ports._candidates = lambda: {}; print(*ports.free_ports(3))"


def test_what_was_given_is_given_to_no_other_process_and_can_be_listened_on() -> None:
    first, last = ports.FIRST, ports.LAST
    given = ports.free_ports(3)
    ask = ASK.format(f"[*{given}, *range({first}, {last})]")
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert len(told) == 3
    assert not {*map(int, told)} & {*given}
    with ExitStack() as stack:
        for port in given:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
