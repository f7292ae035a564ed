"""What a stage prints: whole lines of the log, at once, under the stage's name."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import pytest

from alto_streams.worker.printing import MOST_CHARS, Printing


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.name, record.getMessage()) for record in caplog.records]


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_lines_are_logged_as_they_are_printed(caplog: pytest.LogCaptureFixture) -> None:
    before = sys.stdout
    printing = Printing("summaries.answers")
    await printing.start()
    print("two", "words")
    print("one\nmore")
    assert told(caplog) == [("stage.summaries.answers", f"printed: {line}") for line in ("two words", "one", "more")]
    await printing.stop()
    assert sys.stdout is before


async def test_a_line_that_was_begun_is_kept_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    printing = Printing("p.s")
    await printing.start()
    print("a", end="")
    assert told(caplog) == []
    print("b")
    print("c", end="", flush=True)
    await printing.stop()
    assert [said for _, said in told(caplog)] == ["printed: ab", "printed: c"]


async def test_lines_of_threads_are_not_mixed(caplog: pytest.LogCaptureFixture) -> None:
    printing, meet = Printing("p.s"), threading.Barrier(2)

    def work(letter: str) -> None:
        for _ in range(50):
            meet.wait(timeout=30)
            print(letter, end="")
            meet.wait(timeout=30)
            print(letter)

    await printing.start()
    await asyncio.gather(asyncio.to_thread(work, "a"), asyncio.to_thread(work, "b"))
    await printing.stop()
    assert sorted(said for _, said in told(caplog)) == ["printed: aa"] * 50 + ["printed: bb"] * 50


async def test_a_line_without_an_end_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    printing = Printing("p.s")
    await printing.start()
    print("x" * (2 * MOST_CHARS + 1), end="")
    assert [len(said) for _, said in told(caplog)] == [len("printed: ") + MOST_CHARS] * 2
    await printing.stop()
    assert told(caplog)[-1][1] == "printed: x"


@pytest.mark.parametrize("in_order", [True, False])
async def test_two_that_end_in_any_order_leave_the_output_as_it_was(
    in_order: bool, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    parts = [Printing("p.a"), Printing("p.b")]
    for part in parts:
        await part.start()
    for part in parts if in_order else reversed(parts):
        await part.stop()
    print("after")
    assert (capsys.readouterr().out, told(caplog)) == ("after\n", [])
