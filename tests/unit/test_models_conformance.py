"""What every engine promises, on a recording, on the real local model, and on a server that speaks vLLM's dialect."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from alto_streams.models.local import bundled_weights
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import CallRejected, EngineUnavailable, Piece
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.models.simulated import Timing
from alto_streams.records import Call, Message
from alto_streams.settings import ConfigError
from tests.unit.engine_servers import RECORDED, FakeVllm, local_process, serving

AnyEngine = OpenAIEngine | ScriptedEngine
FAST = Timing(base_s=0.0005, running_s=0.0, prefill_s=0.0)


def ask(text: str = "Describe the sun.", max_tokens: int = 60, **more: object) -> Call:
    messages = [Message("system", "Answer briefly."), Message("user", text)]
    return Call(messages=messages, max_tokens=max_tokens, subject="sun", **more)  # type: ignore[arg-type]


async def run(engine: AnyEngine, call: Call, prefix: str = "", tokens: list[int] | None = None) -> list[Piece]:
    stream = engine.generate(call, prefix=prefix, prefix_tokens=tokens, prompt_class="answer")
    return [piece async for piece in stream]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def _local_missing() -> str | None:
    if importlib.util.find_spec("xllamacpp") is None:
        return "the wheel xllamacpp is not installed"
    try:
        bundled_weights()
    except ConfigError as error:
        return str(error)
    return None


@pytest.fixture(params=["scripted", "scripted-timed", "vllm", "local"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AnyEngine]:
    found: AnyEngine
    if request.param.startswith("scripted"):

        def script(prompt_class: str, call: Call) -> str | None:
            text = call.choices[0] if call.choices else RECORDED
            return text if call.subject == "sun" else None

        found = ScriptedEngine(script, timing=FAST if request.param.endswith("timed") else None)
        yield found
        await found.close()
    elif request.param == "vllm":
        async with serving(FakeVllm().app()) as address:
            found = OpenAIEngine(address)
            yield found
            await found.close()
    else:
        if missing := _local_missing():
            pytest.skip(missing)
        async with local_process() as (address, _):
            found = OpenAIEngine(address)
            yield found
            await found.close()


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


async def test_resumes_exactly_behind_any_prefix(engine: AnyEngine) -> None:
    await engine.ready()
    pieces = [piece for piece in await run(engine, ask(max_tokens=40)) if piece.text]
    whole = text_of(pieces)
    for count in (1, 2, 3, 5, 8, len(pieces) - 1):
        prefix, tokens = text_of(pieces[:count]), [token for piece in pieces[:count] for token in piece.tokens or []]
        told = engine.capabilities.tokens and all(piece.tokens for piece in pieces[:count])
        call = ask(max_tokens=40 - count)
        assert prefix + text_of(await run(engine, call, prefix, tokens if told else None)) == whole


async def test_choices_give_one_of_them(engine: AnyEngine) -> None:
    pieces = await run(engine, ask(choices=["True", 'Fal"se']))
    assert text_of(pieces) in ("True", 'Fal"se')
    assert pieces[-1].finish == "stop"


async def test_choices_are_completed_from_a_prefix(engine: AnyEngine) -> None:
    assert text_of(await run(engine, ask(choices=["True", "False"]), "Tr")) == "ue"
    assert text_of(await run(engine, ask(choices=["True", "False"]), "True")) == ""


async def test_a_prefix_of_no_choice_is_refused(engine: AnyEngine) -> None:
    with pytest.raises(CallRejected):
        await run(engine, ask(choices=["True", "False"]), "No")


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
