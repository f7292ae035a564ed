"""The supervisor with real child processes: order, restarts, and nothing left running however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alto_streams.errors import PartFailed, PortInUse
from alto_streams.local import ping
from alto_streams.local.supervisor import RESTARTS, Part, State, Supervisor
from alto_streams.worker.tcp_ports import check_free, free_ports

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
child = subprocess.Popen([sys.executable, "-S", "-c", code])
open(sys.argv[1], "w").write(str(child.pid) + chr(10))
time.sleep(300)
"""


def server(name: str, needs: tuple[str, ...] = (), **options: object) -> Part:
    port = free_ports(1)[0]
    return Part(
        name,
        [sys.executable, "-S", "-c", SERVE, str(port)],
        lambda: ping.http_answers("127.0.0.1", port, "/"),
        address=f"http://127.0.0.1:{port}",
        needs=needs,
        **options,  # type: ignore[arg-type]
    )


def stubborn(note: Path) -> Part:
    """Ignores SIGTERM, and so does a child of its own whose pid it notes."""
    ready = lambda: note.exists() and note.read_text().endswith("\n")  # noqa: E731
    return Part("stubborn", [sys.executable, "-S", "-c", STUBBORN, str(note)], ready, stop_s=0.3)


def is_gone(pid: int) -> bool:
    """Gone, or a zombie that waits for whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def until(check: Callable[[], bool], timeout_s: float = 60.0) -> None:
    assert await asyncio.to_thread(ping.wait_until, check, timeout_s)


async def test_parts_start_by_their_needs_and_stop_in_reverse(tmp_path: Path) -> None:
    told: list[tuple[str, State]] = []
    step_done = asyncio.Event()

    async def step() -> None:
        step_done.set()

    parts = [
        server("worker", ("topics", "cache")),
        Part("topics", run=step, needs=("broker",)),
        server("broker"),
        server("cache"),
    ]
    async with Supervisor(parts, tmp_path, lambda name, state, _: told.append((name, state))) as supervisor:
        assert step_done.is_set()
        pids = list(supervisor.pids.values())
        assert len(pids) == 3
        assert not any(map(is_gone, pids))
    assert told.index(("broker", State.READY)) < told.index(("topics", State.STARTING))
    assert told.index(("topics", State.READY)) < told.index(("worker", State.STARTING))
    assert told.index(("cache", State.READY)) < told.index(("worker", State.STARTING))
    assert ("cache", State.STARTING) in told[:2]  # with the broker, not after it
    assert next(name for name, state in told if state is State.STOPPED) == "worker"
    assert all(map(is_gone, pids))


async def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    told: list[tuple[str, State]] = []
    part = server("worker")
    async with Supervisor([part], tmp_path, lambda name, state, _: told.append((name, state))) as supervisor:
        first = supervisor.pids["worker"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: told.count(("worker", State.READY)) == 2)
        assert supervisor.pids["worker"] != first
        assert part.ready()
    assert told[2:] == [("worker", State.DIED), ("worker", State.READY), ("worker", State.STOPPED)]


async def test_a_part_that_keeps_dying_ends_the_system(tmp_path: Path) -> None:
    part = Part("worker", [sys.executable, "-S", "-c", "print('no luck'); raise SystemExit(3)"], address="here")
    with pytest.raises(
        PartFailed, match=rf"worker at here exited with code 3, {RESTARTS + 1} times in a row.*\nno luck"
    ):
        async with Supervisor([part], tmp_path) as supervisor:
            await supervisor.wait()


async def test_deaths_after_sound_service_are_no_row(tmp_path: Path) -> None:
    told: list[State] = []
    part = server("worker")
    progress = lambda _, state, __: told.append(state)  # noqa: E731
    async with Supervisor([part], tmp_path, progress, sound_after_s=0.0) as supervisor:
        for death in range(1, RESTARTS + 3):
            os.kill(supervisor.pids["worker"], signal.SIGKILL)
            await until(lambda death=death: told.count(State.READY) == death + 1)  # type: ignore[misc]
    assert told.count(State.DIED) == RESTARTS + 2


async def test_a_restart_that_does_not_get_ready_is_tried_again(tmp_path: Path) -> None:
    told: list[State] = []
    slow = tmp_path / "slow"
    command = f"test -e {slow} && rm {slow} && exec sleep 100; touch {tmp_path}/up; exec sleep 100"
    up = tmp_path / "up"
    part = Part("worker", ["/bin/sh", "-c", command], up.exists, start_s=5.0)
    async with Supervisor([part], tmp_path, lambda _, state, __: told.append(state)) as supervisor:
        up.unlink()
        slow.touch()
        os.kill(supervisor.pids["worker"], signal.SIGKILL)
        await until(lambda: told.count(State.READY) == 2)
    assert told[2:] == [State.DIED, State.STOPPED, State.DIED, State.READY, State.STOPPED]


async def test_the_death_of_a_part_that_cannot_be_replaced_ends_the_system(tmp_path: Path) -> None:
    broker = server("broker", restarts=False, remedy="Start again.")
    async with Supervisor([broker, server("worker", ("broker",))], tmp_path) as supervisor:
        pids = supervisor.pids
        os.kill(pids["broker"], signal.SIGKILL)
        with pytest.raises(PartFailed, match=r"broker at http://.* was ended by signal 9. Start again. .*broker\.log"):
            await supervisor.wait()
    assert all(map(is_gone, pids.values()))


async def test_a_part_that_dies_at_start_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    pids: list[int] = []
    bad = Part("bad", ["/bin/sh", "-c", "echo broken config; exit 2"], lambda: False, needs=("broker",))
    supervisor = Supervisor(
        [server("broker"), bad], tmp_path, lambda _, state, __: pids.extend(supervisor.pids.values())
    )
    with pytest.raises(PartFailed, match=r"bad exited with code 2.*\nbroken config"):
        await supervisor.__aenter__()
    assert pids
    assert all(map(is_gone, pids))
    assert supervisor.pids == {}


async def test_a_part_that_never_gets_ready_is_told(tmp_path: Path) -> None:
    slow = Part("slow", ["/bin/sleep", "100"], lambda: False, start_s=0.3)
    with pytest.raises(PartFailed, match=r"slow was not ready after 0\.3 s.*\n\(nothing\)"):
        await Supervisor([slow], tmp_path).__aenter__()


async def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="none: cannot run /no/such: No such file"):
        await Supervisor([Part("none", ["/no/such"])], tmp_path).__aenter__()


async def test_a_failed_step_stops_what_was_started(tmp_path: Path) -> None:
    async def step() -> None:
        raise RuntimeError("no topics")

    pids: list[int] = []
    parts = [server("broker"), Part("topics", run=step, needs=("broker",))]
    supervisor = Supervisor(parts, tmp_path, lambda _, state, __: pids.extend(supervisor.pids.values()))
    with pytest.raises(RuntimeError, match="no topics"):
        await supervisor.__aenter__()
    assert pids
    assert all(map(is_gone, pids))


async def test_what_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    async with Supervisor([stubborn(note)], tmp_path) as supervisor:
        pid, grandchild = supervisor.pids["stubborn"], int(note.read_text())
    assert is_gone(pid)
    await until(lambda: is_gone(grandchild))


def test_needs_must_be_known_and_not_circular(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a, b"):
        Supervisor([Part("a", needs=("b",)), Part("b", needs=("a",))], tmp_path)


PARENT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from alto_streams.local.signals import Interrupted, ends_on_signals
from alto_streams.local.supervisor import Supervisor
from tests.unit.test_supervisor import server, stubborn

async def main(folder):
    parts = [server("polite"), stubborn(folder / "pid")]
    async with ends_on_signals():
        async with Supervisor(parts, folder) as supervisor:
            pids = [*supervisor.pids.values(), int((folder / "pid").read_text())]
            print(*pids, flush=True)
            await supervisor.wait()

try:
    asyncio.run(main(Path(sys.argv[2])))
except Interrupted as end:
    print(end, flush=True)
    sys.exit(128 + end.number)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(ROOT), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert not any(map(is_gone, pids))
        parent.send_signal(number)
        said = parent.stdout.read()
    if number is not signal.SIGKILL:
        assert (parent.returncode, said) == (128 + number, f"ended by {number.name}\n")
    assert ping.wait_until(lambda: all(map(is_gone, pids)), 60)


def test_a_port_in_use_names_port_owner_and_setting() -> None:
    port = free_ports(1)[0]
    check_free("The gateway", "127.0.0.1", port, "ALTO_GATEWAY_PORT")
    with subprocess.Popen([sys.executable, "-S", "-c", SERVE, str(port)], stdout=subprocess.DEVNULL) as other:
        try:
            assert ping.wait_until(lambda: ping.http_answers("127.0.0.1", port, "/"), 60)
            with pytest.raises(PortInUse) as told:
                check_free("The gateway", "127.0.0.1", port, "ALTO_GATEWAY_PORT")
        finally:
            other.terminate()
    said = str(told.value)
    assert f"port {port} on 127.0.0.1 is in use" in said
    assert "ALTO_GATEWAY_PORT" in said
    if Path("/proc").exists():
        assert f"(pid {other.pid})" in said


async def test_a_part_whose_port_is_taken_is_not_started(tmp_path: Path) -> None:
    def refuse() -> None:
        raise PortInUse("port 1 is in use")

    with pytest.raises(PortInUse):
        await Supervisor([server("late", before=refuse)], tmp_path).__aenter__()
    assert not (tmp_path / "late.log").exists()


async def test_a_step_that_raises_ends_the_start_of_what_waits_for_it(tmp_path: Path) -> None:
    async def fails() -> None:
        raise OSError("no room")

    steps = [Part("first", run=fails), Part("second", run=fails, needs=("first",))]
    with pytest.raises(OSError, match="no room"):
        async with asyncio.timeout(60), Supervisor(steps, tmp_path):
            pass
