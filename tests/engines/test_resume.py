"""A call that is resumed writes what is left of it: from every place, on every engine."""

from __future__ import annotations

import asyncio
import re

import msgspec
import pytest

from alto_streams.errors import CallRejected
from alto_streams.models.protocol import Engine, Piece
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.wire.grammars import LineGrammar
from alto_streams.wire.records import Call, Message
from alto_streams.wire.resume import rest_of
from tests.engines.subjects import FULL, Subject
from tests.unit.engine_servers import RECORDED
from tests.unit.engines import ask, recorded, run, text_of, tokens_of

LINES = LineGrammar(r'''"{\"fact\": \"" [^"\\\x00-\x1f]{1,20} "\"}"''', least=1, most=3, end="\n")
LINE = re.compile(r'{"fact": "[^"\\\x00-\x1f]{1,20}"}')
QUESTIONS = (
    "Describe the sun.",
    "Tell a story about a fox.",
    "What is water made of?",
    "Write two sentences about the sea.",
    "How do birds fly?",
    "Name three colours and what has them.",
    "Explain what a poem is.",
    "Why is the sky blue?",
    "Write one sentence about the sun in French with accents.",
    "List five animals with emoji.",
)
LENGTH = 30
CASES = 200 if FULL else 20


async def test_greedy_equality(model: Engine, subject: Subject) -> None:
    """An answer resumed at any place, by its token ids where they are known, is the uninterrupted one.

    Numerics may differ once calls are batched, so one in a hundred may be another; each is shown.
    """
    at_once, cases = asyncio.Semaphore(4), list[tuple[Call, list[Piece], int]]()
    for question in QUESTIONS:
        call = ask(question, LENGTH)
        pieces = [piece for piece in await run(model, call) if piece.text]
        cases += [(call, pieces, count) for count in range(1, len(pieces))]
    step = max(1, len(cases) // CASES)
    cases = cases[::step][:CASES]

    async def resumed(call: Call, pieces: list[Piece], count: int) -> str:
        before, ids = pieces[:count], tokens_of(pieces[:count])
        left = msgspec.structs.replace(call, max_tokens=LENGTH - sum(piece.count or 0 for piece in before))
        async with at_once:
            return text_of(before) + text_of(await run(model, left, text_of(before), ids))

    came = await asyncio.gather(*(resumed(*case) for case in cases))
    others = [
        f"{case[0].messages[-1].content!r} at token {case[2]}: {text!r} for {text_of(case[1])!r}"
        for case, text in zip(cases, came, strict=True)
        if text != text_of(case[1])
    ]
    by_ids = sum(tokens_of(pieces[:count]) is not None for _, pieces, count in cases)
    print(f"\n{subject.name}: {len(cases) - len(others)} of {len(cases)} equal, {by_ids} of them from token ids")
    print("\n".join(others))
    assert len(cases) >= (CASES if FULL else 10)
    assert len(others) <= len(cases) / 100


async def test_from_every_character_of_a_recording() -> None:
    engine = ScriptedEngine(recorded)
    for place in range(len(RECORDED) + 1):
        pieces = await run(engine, ask(), RECORDED[:place])
        assert RECORDED[:place] + text_of(pieces) == RECORDED
        assert pieces[-1].finish == "stop"


async def test_from_every_piece_of_an_answer(engine: Engine) -> None:
    """Its text and, where they are told, its token ids."""
    pieces = [piece for piece in await run(engine, ask(max_tokens=14)) if piece.text]
    whole, ids = text_of(pieces), tokens_of(pieces)
    for count in range(1, len(pieces)):
        before = pieces[:count]
        left = ask(max_tokens=14 - sum(piece.count or 0 for piece in before))
        resumed = await run(engine, left, text_of(before), tokens_of(before))
        assert text_of(before) + text_of(resumed) == whole
        if ids is not None and left.max_tokens:
            assert tokens_of(before) + tokens_of(resumed) == ids  # type: ignore[operator]


async def test_from_every_token_by_the_text(model: Engine) -> None:
    pieces = [piece for piece in await run(model, ask(max_tokens=12)) if piece.text]
    whole, others = text_of(pieces), []
    for count in range(1, len(pieces)):
        prefix = text_of(pieces[:count])
        if prefix + text_of(await run(model, ask(max_tokens=12 - count), prefix)) != whole:
            others.append(count)  # the text before the break is cut into other tokens than it was written in
    print(f"{len(others)} of {len(pieces) - 1} places continue otherwise: {others}")
    assert len(others) <= 1


async def test_an_opened_turn_is_continued(model: Engine) -> None:
    """The call leaves the assistant's turn open; what is resumed stands behind its beginning."""
    call = Call([Message("user", "Describe the sun."), Message("assistant", "The sun is a")], 10)
    pieces = [piece for piece in await run(model, call) if piece.text]
    for count in (2, 5):
        before = pieces[:count]
        left = msgspec.structs.replace(call, max_tokens=10 - count)
        assert text_of(before) + text_of(await run(model, left, text_of(before), tokens_of(before))) == text_of(pieces)


async def test_token_ids_that_are_not_the_prefix_are_not_used(model: Engine) -> None:
    pieces = (await run(model, ask(max_tokens=8)))[:-1]
    ids, prefix = tokens_of(pieces), text_of(pieces[:4])
    assert ids is not None
    by_text = text_of(await run(model, ask(max_tokens=4), prefix))
    for wrong in (ids[:3], ids[:5], ids[1:5]):
        assert text_of(await run(model, ask(max_tokens=4), prefix, wrong)) == by_text


async def test_a_break_beside_a_character_of_several_tokens(model: Engine) -> None:
    call = Call([Message("user", "Repeat: 🌍🌞🌧")], 12, grammar='root ::= "a🌍b" [🌞-🌧]{1,3}')
    pieces = [piece for piece in await run(model, call) if piece.text]
    assert text_of(pieces).startswith("a🌍b")
    for count in range(1, len(pieces)):
        prefix = text_of(pieces[:count])
        rest = f'root ::= "{"a🌍b"[len(prefix) :]}" [🌞-🌧]{{1,{4 - max(1, len(prefix) - 2)}}}'
        left = msgspec.structs.replace(call, grammar=rest, max_tokens=12)
        resumed = prefix + text_of(await run(model, left, prefix, tokens_of(pieces[:count])))
        assert "\ufffd" not in resumed
        assert resumed.startswith("a🌍b")


@pytest.mark.parametrize("size", [1, 2, 4])
async def test_a_stop_sequence_is_found_from_every_place_before_and_in_it(engine: Engine, size: int) -> None:
    """The stop is made of whole pieces, so that a run can be resumed within it."""
    pieces = [piece for piece in await run(engine, ask(max_tokens=14)) if piece.text]
    stop = text_of(pieces[6 : 6 + size])
    before = text_of(pieces).partition(stop)[0]
    for count in (0, 3, 6, *range(7, 6 + size)):
        prefix = text_of(pieces[:count])
        ended = await run(engine, ask(max_tokens=14 - count, stop=["never", stop]), prefix, tokens_of(pieces[:count]))
        assert prefix + text_of(ended) == max(before, prefix, key=len)
        assert ended[-1].finish == "stop"


async def test_a_stop_that_was_only_begun_is_text(engine: Engine) -> None:
    pieces = [piece for piece in await run(engine, ask(max_tokens=10)) if piece.text]
    whole, prefix = text_of(pieces), text_of(pieces[:4])
    stops = [prefix[-2:] + whole[len(prefix)] + "\x00", prefix[-1:] + "\x00"]
    resumed = await run(engine, ask(max_tokens=6, stop=stops), prefix, tokens_of(pieces[:4]))
    assert prefix + text_of(resumed) == whole


async def test_a_text_that_holds_the_stop_is_whole(engine: Engine) -> None:
    assert await run(engine, ask(stop=["sun"]), "The sun") == [Piece("", finish="stop")]


@pytest.mark.parametrize("left", [0, -3])
async def test_no_token_left_is_the_end(engine: Engine, left: int) -> None:
    assert await run(engine, ask(max_tokens=left), "The ") == [Piece("", finish="length")]


@pytest.mark.parametrize(
    ("prefix", "rests"),
    [("", {"True", "False", "Falsehood"}), ("Tr", {"ue"}), ("F", {"alse", "alsehood"}), ("False", {"", "hood"})],
)
async def test_choices_are_those_that_begin_with_the_prefix(model: Engine, prefix: str, rests: set[str]) -> None:
    for temperature in (0.0, 2.0):
        call = ask(choices=["True", "False", "Falsehood"], temperature=temperature, seed=1)
        assert text_of(await run(model, call, prefix)) in rests


async def test_choices_are_completed_from_a_prefix(engine: Engine) -> None:
    assert text_of(await run(engine, ask(choices=["True", "False"]), "Tr")) == "ue"
    assert await run(engine, ask(choices=["True", "False"]), "True") == [Piece("", finish="stop")]


async def test_a_prefix_of_no_choice_is_refused(engine: Engine) -> None:
    with pytest.raises(CallRejected):
        await run(engine, ask(choices=["True", "False"]), "No")


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 0), (1.5, 1)])
async def test_lines_continue_with_the_grammar_of_what_is_left(model: Engine, temperature: float, seed: int) -> None:
    call = ask(
        "Write facts as JSON lines.", 60, stop=["\n\n"], grammar=LINES.whole(), temperature=temperature, seed=seed
    )
    pieces = await run(model, call)
    whole = text_of(pieces)
    assert 1 <= len(whole.splitlines()) <= 3
    breaks = [match.end() for match in re.finditer("\n", whole)]
    for place in breaks:
        left = rest_of(call, LINES, whole[:place], spent=0)
        if left is None:
            assert whole[:place].count("\n") == 3
            continue
        resumed = whole[:place] + text_of(await run(model, left, whole[:place]))
        assert len(resumed.splitlines()) <= 3
        assert all(LINE.fullmatch(line) for line in resumed.splitlines())
        if not temperature:
            assert resumed.rstrip("\n") == whole.rstrip("\n")
