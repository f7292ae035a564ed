"""What every engine promises of one call (stream, stop, length, seed, choices) and of many beside one another."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from alto_streams.errors import EngineUnavailable
from alto_streams.models.protocol import Engine
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.wire.records import Call, Message
from tests.engines.subjects import MODELS, Subject
from tests.unit.engines import ask, run, text_of, tokens_of


async def test_streams_in_pieces_and_ends_once(engine: Engine) -> None:
    pieces = await run(engine, ask())
    assert len(pieces) > 3
    assert [piece.finish is not None for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].usage.output_tokens >= sum(bool(piece.text) for piece in pieces) - 1
    assert pieces[-1].usage.prompt_tokens > 0


async def test_token_ids_and_counts_are_those_of_the_text(engine: Engine) -> None:
    pieces = await run(engine, ask(max_tokens=12))
    assert sum(piece.count or 0 for piece in pieces) == pieces[-1].usage.output_tokens
    tokens = tokens_of(pieces)
    assert (tokens is not None) == engine.capabilities.tokens
    assert tokens is None or len(tokens) == pieces[-1].usage.output_tokens


async def test_the_same_call_gives_the_same_text(engine: Engine) -> None:
    call = ask(temperature=0.8, seed=7)
    assert text_of(await run(engine, call)) == text_of(await run(engine, call))


async def test_seeds_and_temperature_are_heard(model: Engine) -> None:
    texts = {text_of(await run(model, ask("Name an animal.", 12, temperature=1.5, seed=seed))) for seed in range(4)}
    assert len(texts) > 1


async def test_max_tokens_ends_by_length(engine: Engine) -> None:
    pieces = await run(engine, ask(max_tokens=4))
    assert pieces[-1].finish == "length"
    assert pieces[-1].usage.output_tokens == 4


async def test_stop_is_not_part_of_the_text(engine: Engine) -> None:
    whole = text_of(await run(engine, ask()))
    for stop in (whole.split()[2], whole[5:8], whole[-1:]):
        pieces = await run(engine, ask(stop=["never", stop]))
        assert text_of(pieces) == whole.partition(stop)[0]
        assert pieces[-1].finish == "stop"
        assert pieces[-1].usage.prompt_tokens > 0


async def test_a_stop_takes_no_token_ids_from_what_comes_before_it(engine: Engine, subject: Subject) -> None:
    """A server that holds text back in case of a stop tells ids whose text comes later."""
    if not engine.capabilities.tokens:
        pytest.skip("tells no token ids")
    free = [piece for piece in await run(engine, ask(max_tokens=10)) if piece.text]
    stopped = [piece for piece in await run(engine, ask(max_tokens=10, stop=["a stop of many letters"])) if piece.text]
    assert text_of(stopped) == text_of(free)
    if subject.name == "local":  # llama.cpp tells no ids of what it holds back, and so none from there on
        stopped = [piece for piece in stopped if piece.tokens]
        free = free[: len(stopped)]
    assert [(piece.text, piece.tokens) for piece in stopped] == [(piece.text, piece.tokens) for piece in free]


async def test_choices_give_one_of_them(engine: Engine) -> None:
    pieces = await run(engine, ask(choices=["True", 'Fal"se']))
    assert text_of(pieces) in ("True", 'Fal"se')
    assert pieces[-1].finish == "stop"


async def test_a_character_of_several_tokens_is_whole(engine: Engine, subject: Subject) -> None:
    call = ask()
    if subject.name in MODELS:
        call = Call([Message("user", "Repeat: 🌍🌞🌧")], 12, grammar='root ::= "a🌍b" [🌞-🌧]{1,3}')
    texts = [piece.text for piece in await run(engine, call)]
    assert "🌍" in "".join(texts)
    assert not any("\ufffd" in text or any("\ud800" <= letter < "\ue000" for letter in text) for text in texts)
    assert sum("🌍" in text for text in texts) == 1


async def test_log_probabilities_are_those_of_each_token(model: Engine) -> None:
    pieces = await run(model, ask(max_tokens=6, logprobs=3))
    told = [token for piece in pieces for token in piece.logprobs or []]
    assert "".join(token.token for token in told) == text_of(pieces)
    assert all(token.token in token.top and 3 <= len(token.top) <= 4 for token in told)


async def test_a_prompt_that_came_before_is_counted_as_cached(model: Engine) -> None:
    call = ask("words " * 300, 1)
    await run(model, call)
    (*_, last) = await run(model, call)
    assert 128 <= last.usage.cached_tokens < last.usage.prompt_tokens


async def test_calls_beside_one_another_are_not_mixed(engine: Engine) -> None:
    """Twice as many as it runs at once, so that some of them wait."""
    texts = [f"answer {number}" for number in range(2 * engine.capabilities.slots)]
    answers = await asyncio.gather(*(run(engine, ask(choices=[text])) for text in texts))
    assert [text_of(pieces) for pieces in answers] == texts


async def test_closing_a_stream_leaves_room_for_others(engine: Engine) -> None:
    whole = text_of(await run(engine, ask(max_tokens=5)))
    for _ in range(engine.capabilities.slots + 2):
        async with aclosing(engine.generate(ask(max_tokens=1500), prompt_class="answer")) as stream:  # type: ignore[type-var]
            async for piece in stream:
                assert piece.text
                break
    assert text_of(await run(engine, ask(max_tokens=5))) == whole


async def test_closed_engines_are_unavailable() -> None:
    engine = ScriptedEngine(lambda prompt_class, call: "x")
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await run(engine, ask())
