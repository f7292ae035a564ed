"""A call that is resumed writes what is left of it: from every place, on every kind of engine."""

from __future__ import annotations

import re

import msgspec
import pytest

from alto_streams.grammars import LineGrammar
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import CallRejected, Piece
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.records import Call, Message
from alto_streams.resume import rest_of
from tests.unit.engine_servers import RECORDED, FakeVllm, serving
from tests.unit.engines import AnyEngine, ask, recorded, run, text_of, tokens_of

LINES = LineGrammar(r'''"{\"fact\": \"" [^"\\\x00-\x1f]{1,20} "\"}"''', least=1, most=3, end="\n")
LINE = re.compile(r'{"fact": "[^"\\\x00-\x1f]{1,20}"}')


async def test_from_every_character_of_a_recording() -> None:
    engine = ScriptedEngine(recorded)
    for place in range(len(RECORDED) + 1):
        pieces = await run(engine, ask(), RECORDED[:place])
        assert RECORDED[:place] + text_of(pieces) == RECORDED
        assert pieces[-1].finish == "stop"


async def test_from_every_character_on_vllm() -> None:
    async with serving(FakeVllm().app()) as address:
        engine = OpenAIEngine(address)
        for place in range(len(RECORDED)):
            left = msgspec.structs.replace(ask(), max_tokens=60 - place)
            assert RECORDED[:place] + text_of(await run(engine, left, RECORDED[:place])) == RECORDED
        await engine.close()


async def test_from_every_token_by_its_ids(served: OpenAIEngine) -> None:
    call = Call([Message("user", "Write one sentence about the sun in French with accents.")], 16)
    pieces = (await run(served, call))[:-1]
    whole, ids = text_of(pieces), tokens_of(pieces)
    assert ids is not None
    assert len(ids) == len(pieces) == sum(piece.count or 0 for piece in pieces) == 16
    for count in range(1, len(pieces)):
        left = msgspec.structs.replace(call, max_tokens=16 - count)
        resumed = await run(served, left, text_of(pieces[:count]), ids[:count])
        assert text_of(pieces[:count]) + text_of(resumed) == whole
        assert tokens_of(resumed) == ids[count:]


async def test_from_every_token_by_the_text(served: OpenAIEngine) -> None:
    pieces = (await run(served, ask(max_tokens=16)))[:-1]
    whole, others = text_of(pieces), []
    for count in range(1, len(pieces)):
        prefix = text_of(pieces[:count])
        if prefix + text_of(await run(served, ask(max_tokens=16 - count), prefix)) != whole:
            others.append(count)  # the text before the break is cut into other tokens than it was written in
    print(f"{len(others)} of {len(pieces) - 1} places continue otherwise: {others}")
    assert len(others) <= 1


async def test_token_ids_that_are_not_the_prefix_are_not_used(served: OpenAIEngine) -> None:
    pieces = (await run(served, ask(max_tokens=8)))[:-1]
    ids, prefix = tokens_of(pieces), text_of(pieces[:4])
    assert ids is not None
    by_text = text_of(await run(served, ask(max_tokens=4), prefix))
    for wrong in (ids[:3], ids[:5], ids[1:5]):
        assert text_of(await run(served, ask(max_tokens=4), prefix, wrong)) == by_text


async def test_a_break_beside_a_character_of_several_tokens(served: OpenAIEngine) -> None:
    call = Call([Message("user", "Repeat: 🌍🌞🌧")], 12, grammar='root ::= "a🌍b" [🌞-🌧]{1,3}')
    pieces = (await run(served, call))[:-1]
    whole = text_of(pieces)
    assert whole.startswith("a🌍b")
    assert tokens_of(pieces) is None
    for count in range(1, len(pieces)):
        prefix = text_of(pieces[:count])
        rest = f'root ::= "{"a🌍b"[len(prefix) :]}" [🌞-🌧]{{1,{4 - max(1, len(prefix) - 2)}}}'
        left = msgspec.structs.replace(call, grammar=rest, max_tokens=12)
        resumed = prefix + text_of(await run(served, left, prefix, tokens_of(pieces[:count])))
        assert "\ufffd" not in resumed
        assert resumed.startswith("a🌍b")


@pytest.mark.parametrize("size", [1, 2, 4])
async def test_a_stop_sequence_is_found_from_every_place_before_and_in_it(engine: AnyEngine, size: int) -> None:
    """The stop is made of whole pieces, so that a run can be resumed within it."""
    pieces = [piece for piece in await run(engine, ask(max_tokens=14)) if piece.text]
    stop = text_of(pieces[6 : 6 + size])
    before = text_of(pieces).partition(stop)[0]
    for count in (0, 3, 6, *range(7, 6 + size)):
        prefix = text_of(pieces[:count])
        ended = await run(engine, ask(max_tokens=14 - count, stop=["never", stop]), prefix, tokens_of(pieces[:count]))
        assert prefix + text_of(ended) == max(before, prefix, key=len)
        assert ended[-1].finish == "stop"


async def test_a_stop_that_was_only_begun_is_text(engine: AnyEngine) -> None:
    pieces = [piece for piece in await run(engine, ask(max_tokens=10)) if piece.text]
    whole, prefix = text_of(pieces), text_of(pieces[:4])
    stops = [prefix[-2:] + whole[len(prefix)] + "\x00", prefix[-1:] + "\x00"]
    resumed = await run(engine, ask(max_tokens=6, stop=stops), prefix, tokens_of(pieces[:4]))
    assert prefix + text_of(resumed) == whole


async def test_a_text_that_holds_the_stop_is_whole(engine: AnyEngine) -> None:
    assert await run(engine, ask(stop=["sun"]), "The sun") == [Piece("", finish="stop")]


@pytest.mark.parametrize("left", [0, -3])
async def test_no_token_left_is_the_end(engine: AnyEngine, left: int) -> None:
    assert await run(engine, ask(max_tokens=left), "The ") == [Piece("", finish="length")]


@pytest.mark.parametrize(
    ("prefix", "rests"),
    [("", {"True", "False", "Falsehood"}), ("Tr", {"ue"}), ("F", {"alse", "alsehood"}), ("False", {"", "hood"})],
)
async def test_choices_are_those_that_begin_with_the_prefix(served: OpenAIEngine, prefix: str, rests: set[str]) -> None:
    for temperature in (0.0, 2.0):
        call = ask(choices=["True", "False", "Falsehood"], temperature=temperature, seed=1)
        assert text_of(await run(served, call, prefix)) in rests


async def test_choices_are_completed_from_a_prefix(engine: AnyEngine) -> None:
    assert text_of(await run(engine, ask(choices=["True", "False"]), "Tr")) == "ue"
    assert await run(engine, ask(choices=["True", "False"]), "True") == [Piece("", finish="stop")]


async def test_a_prefix_of_no_choice_is_refused(engine: AnyEngine) -> None:
    with pytest.raises(CallRejected):
        await run(engine, ask(choices=["True", "False"]), "No")


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 0), (1.5, 1)])
async def test_lines_continue_with_the_grammar_of_what_is_left(
    served: OpenAIEngine, temperature: float, seed: int
) -> None:
    call = ask(
        "Write facts as JSON lines.", 60, stop=["\n\n"], grammar=LINES.whole(), temperature=temperature, seed=seed
    )
    pieces = await run(served, call)
    whole = text_of(pieces)
    assert 1 <= len(whole.splitlines()) <= 3
    breaks = [match.end() for match in re.finditer("\n", whole)]
    for place in breaks:
        left = rest_of(call, LINES, whole[:place], spent=0)
        if left is None:
            assert whole[:place].count("\n") == 3
            continue
        resumed = whole[:place] + text_of(await run(served, left, whole[:place]))
        assert len(resumed.splitlines()) <= 3
        assert all(LINE.fullmatch(line) for line in resumed.splitlines())
        if not temperature:
            assert resumed.rstrip("\n") == whole.rstrip("\n")


async def test_what_is_sent_to_vllm_is_what_is_left() -> None:
    fake = FakeVllm(text='{"fact": "a"}\n{"fact": "b"}\n')
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        call, prefix = ask(stop=["\n\n"], seed=5, grammar=LINES.whole()), '{"fact": "a"}\n'
        left = rest_of(call, LINES, prefix, spent=14)
        assert left is not None
        pieces = await run(engine, left, prefix)
        assert text_of(pieces) == '{"fact": "b"}\n'
        assert sum(piece.count or 0 for piece in pieces) == len(text_of(pieces))
        body = fake.bodies[-1]
        assert body["structured_outputs"] == {"grammar": LINES.after(prefix)}
        assert (body["max_tokens"], body["seed"], body["stop"]) == (46, 5, ["\n\n"])
        await engine.close()
