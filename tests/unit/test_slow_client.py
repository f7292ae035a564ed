"""The parts of the slow client's measurement that need no system: its load, its pace, and what is made of a run."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from alto_streams.models.simulated import token_count
from loadtest import long_answers
from loadtest.samples import Sample
from loadtest.slow_client import Phase, SlowClientFailed, arrivals, grown_by_part_mib, grown_mib, report
from loadtest.throttled import Reading, due_s, read_events

MIB = 1024


def phase(latency_s: float, gateway_mib: list[int], rate: float) -> Phase:
    samples = [Sample("50", at / 10, ttft_s=latency_s / 2, done_s=latency_s) for at in range(100)]
    memory = [
        {"gateway": each * MIB, "redis": 9 * MIB, "kafka": (at + 1) * 500 * MIB} for at, each in enumerate(gateway_mib)
    ]
    return Phase(samples, memory, [Reading(int(rate * 10), 10.0, True), Reading(int(rate * 5), 5.0)])


def test_the_slow_phase_is_compared_with_both_others() -> None:
    found = report([phase(1.0, [50, 51], 1000), phase(1.0, [51, 50], 3000)], phase(1.05, [51, 71, 60], 200))
    assert found["p99_ratio"] == 1.05
    assert (found["without"]["n"], found["with"]["n"]) == (2 * found["with"]["n"], found["with"]["n"])
    assert found["grown_mib"] == 20, "the most there was, not the last; without the broker"
    assert found["grown_mib_without"] == [1, 0]
    assert found["slow_client"]["events_come_bytes_per_s"] == 2000
    assert found["slow_client"]["it_reads_bytes_per_s"] == 200


def test_growth_is_of_all_parts_at_one_time() -> None:
    memory = [{"a": 10 * MIB, "b": 10 * MIB}, {"a": 14 * MIB, "b": 9 * MIB}, {"a": 9 * MIB, "b": 15 * MIB}]
    assert grown_mib(memory) == 4
    assert grown_by_part_mib(memory) == {"b": 5, "a": 4}


def test_a_phase_in_which_nothing_was_read_has_no_rate() -> None:
    with pytest.raises(SlowClientFailed, match="too short"):
        Phase(readings=[Reading()]).byte_rate()


def test_the_load_is_the_same_every_time_and_as_dense_as_asked() -> None:
    found = arrivals(4.0, 500.0, 7)
    assert found == arrivals(4.0, 500.0, 7) != arrivals(4.0, 500.0, 8)
    assert found[-1][0] < 500
    assert math.isclose(len(found), 2000, rel_tol=0.1)
    assert found[:100] == arrivals(4.0, 100.0, 7)[:100], "a shorter phase begins with the same requests"


def test_an_answer_is_as_long_as_its_name_says() -> None:
    text = long_answers.answer(long_answers.named(50, 3))
    assert (len(text.split()), text.count("\n")) == (50, 3)
    assert token_count(text) <= long_answers.TOKENS


def test_a_pace_is_kept_from_the_beginning_on() -> None:
    assert due_s(300, 100.0, 7.0) == 10.0


async def test_a_throttled_reader_takes_no_more_than_its_rate() -> None:
    rate = 20_000.0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.set_write_buffer_limits(high=1)
        for _ in range(20):
            writer.write(b"x" * 1_000)
            await writer.drain()
        writer.write(b"event: done\n\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
        slow, prompt = Reading(), Reading()
        began_s = time.monotonic()
        await read_events(url, rate, slow)
        took_s = time.monotonic() - began_s
        await read_events(url, None, prompt)
    assert slow.whole
    assert prompt.whole
    assert slow.bytes == prompt.bytes > 20_000
    assert took_s > 20_000 / rate * 0.9
