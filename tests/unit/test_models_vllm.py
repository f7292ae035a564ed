"""The engine inside the worker, as far as vLLM itself is not needed: its pieces, its configuration, its core's end."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from alto_streams.errors import ConfigError
from alto_streams.models.cards import Card
from alto_streams.models.protocol import EngineLoad, Piece, TellsLoad
from alto_streams.models.registry import engine_for
from alto_streams.models.units import Units
from alto_streams.models.vllm import VllmEngine
from alto_streams.models.vllm_core import PARENT
from alto_streams.models.vllm_loading import Loaded, SchedulerCounts
from alto_streams.settings import Settings
from tests.unit.engine_servers import until

END = 999


def decode(tokens: Sequence[int]) -> str:
    """Every token is one byte, but for the one that ends a text."""
    return bytes(token for token in tokens if token != END).decode(errors="replace")


@dataclass
class Alternative:
    decoded_token: str
    logprob: float


@dataclass
class Said:
    text: str
    token_ids: Sequence[int]
    finish_reason: str | None = None
    logprobs: Sequence[Mapping[int, Alternative]] | None = None


def test_tokens_within_a_character_wait_for_its_text() -> None:
    units, earth = Units(decode, wants_logprobs=False), list("🌍".encode())
    assert units.feed(Said("a", [97])) == Piece("a", [97], count=1)
    assert [units.feed(Said("", [byte])) for byte in earth[:3]] == [None] * 3
    assert units.feed(Said("🌍", earth[3:])) == Piece("🌍", earth, count=4)


def test_one_delta_of_many_tokens_that_ends_within_a_character_waits() -> None:
    units, earth = Units(decode, wants_logprobs=False), list("🌍".encode())
    assert units.feed(Said("ab", [97, 98, *earth[:2]])) is None
    assert units.feed(Said("🌍", earth[2:])) == Piece("ab🌍", [97, 98, *earth], count=6)


def test_the_token_that_ends_a_text_is_none_of_it() -> None:
    units = Units(decode, wants_logprobs=False)
    assert units.feed(Said("ab", [97, 98, END], "stop")) == Piece("ab", [97, 98], count=3)
    assert (units.finish, units.count) == ("stop", 3)


def test_a_run_that_ends_within_a_character_tells_no_tokens_that_are_not_its_text() -> None:
    half = list("🌍".encode())[:2]
    units = Units(decode, wants_logprobs=False)
    assert units.feed(Said("a", [97, *half], "length")) == Piece("a", None, count=3)
    units = Units(decode, wants_logprobs=False)
    assert units.feed(Said("a", [97])) is not None
    assert units.feed(Said("", half, "length")) is None


def test_alternatives_stay_with_their_tokens() -> None:
    units = Units(decode, wants_logprobs=True)
    of = {97: Alternative("a", -0.1), 98: Alternative("b", -2.0), 99: Alternative("forbidden", float("-inf"))}
    piece = units.feed(Said("a", [97, END], "stop", [of, {END: Alternative("", -0.2)}]))
    assert piece is not None
    assert piece.logprobs is not None
    assert [(one.token, one.top) for one in piece.logprobs] == [("a", {"a": -0.1, "b": -2.0})]


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_says_how_to_get_vllm_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match=r"pip install vllm .*docs/engines\.md"):
        engine_for(Card(engine="vllm:/weights"), Settings())


async def test_tells_what_the_scheduler_says() -> None:
    engine, counts = VllmEngine("/weights"), SchedulerCounts()
    assert isinstance(engine, TellsLoad)
    assert await engine.load() is None
    step = SimpleNamespace(queries=30, hits=20)
    said = SimpleNamespace(
        num_running_reqs=3,
        num_waiting_reqs=1,
        num_skipped_waiting_reqs=1,
        kv_cache_usage=0.25,
        prefix_cache_stats=step,
    )
    counts.record(said, None)
    counts.record(None, None)
    counts.record(said, None)
    engine._loaded = Loaded(None, None, 100, counts, ValueError)
    assert await engine.load() == EngineLoad(3, 2, 0.25, 60, 40)


STARTER = """
import multiprocessing, os, sys, time
from alto_streams.models.vllm_core import PARENT, end_with_parent

def core():
    end_with_parent()
    print(os.getpid(), os.getpgid(0), flush=True)
    time.sleep(120)

if __name__ == "__main__":
    os.environ[PARENT] = sys.argv[1] or str(os.getpid())
    multiprocessing.get_context("spawn").Process(target=core).start()
    time.sleep(120)
"""


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("starter", "ends"), [("", True), ("1", False)])
async def test_a_core_ends_with_the_worker_that_was_killed(tmp_path: Path, starter: str, ends: bool) -> None:
    script = tmp_path / "starter.py"
    script.write_text(STARTER)
    env = {key: value for key, value in os.environ.items() if key != PARENT}
    pipe = asyncio.subprocess.PIPE
    worker = await asyncio.create_subprocess_exec(sys.executable, str(script), starter, stdout=pipe, env=env)
    assert worker.stdout is not None
    core, group = map(int, (await worker.stdout.readline()).split())
    try:
        assert _is_running(core)
        assert (core == group) == ends  # what asks the worker's group to end does not ask it
        worker.kill()
        await until(lambda: not _is_running(worker.pid), "the worker has ended")
        if ends:
            await until(lambda: not _is_running(core), "the core has ended")
        assert _is_running(core) != ends  # that of somebody else is left alone
    finally:
        if _is_running(core):
            os.kill(core, signal.SIGKILL)
        await worker.communicate()  # until nobody has its output any more
