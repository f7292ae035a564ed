"""What every engine promises, on a recording, on the real local model, and on a server that speaks vLLM's dialect."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from alto_streams.models.protocol import EngineUnavailable
from alto_streams.models.scripted import ScriptedEngine
from tests.unit.engines import AnyEngine, ask, run, text_of


async def test_streams_in_pieces_and_ends_once(engine: AnyEngine) -> None:
    await engine.ready()
    pieces = await run(engine, ask())
    assert len(pieces) > 3
    assert [piece.finish is not None for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].usage.output_tokens >= len(pieces) - 1
    assert pieces[-1].usage.prompt_tokens > 0


async def test_the_same_call_gives_the_same_text(engine: AnyEngine) -> None:
    call = ask(temperature=0.8, seed=7)
    assert text_of(await run(engine, call)) == text_of(await run(engine, call))


async def test_max_tokens_ends_by_length(engine: AnyEngine) -> None:
    pieces = await run(engine, ask(max_tokens=4))
    assert pieces[-1].finish == "length"
    assert 0 < len(pieces) - 1 <= 4


async def test_stop_is_not_part_of_the_text(engine: AnyEngine) -> None:
    whole = text_of(await run(engine, ask()))
    word = whole.split()[2]
    pieces = await run(engine, ask(stop=[word]))
    assert text_of(pieces) == whole.partition(word)[0]
    assert pieces[-1].finish == "stop"


async def test_choices_give_one_of_them(engine: AnyEngine) -> None:
    pieces = await run(engine, ask(choices=["True", 'Fal"se']))
    assert text_of(pieces) in ("True", 'Fal"se')
    assert pieces[-1].finish == "stop"


async def test_closing_a_stream_leaves_room_for_others(engine: AnyEngine) -> None:
    await engine.ready()
    whole = text_of(await run(engine, ask(max_tokens=5)))
    for _ in range(engine.capabilities.slots + 2):
        async with aclosing(engine.generate(ask(max_tokens=1500), prompt_class="answer")) as stream:
            async for piece in stream:
                assert piece.text
                break
    assert text_of(await run(engine, ask(max_tokens=5))) == whole


async def test_closed_engines_are_unavailable() -> None:
    engine = ScriptedEngine(lambda prompt_class, call: "x")
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await run(engine, ask())
