"""A home decides by its log alone: what it remembers beside its row, and how often it is told, change nothing.

The logs come from simulated worlds, so they hold whatever deaths, holes and repetitions leave behind.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Instruction, Row, Send, decode_row, encode_row
from alto_streams.tables.turns import At
from alto_streams.wire.records import Event, EventKind, HomeRecord, Items, decoder
from alto_streams.wire.topic_names import home_topic
from tests.placing import Always
from tests.simulation.log import Appended
from tests.simulation.script import Question, pipeline
from tests.simulation.world import NONE, WILD, World
from tests.unit.homes import STOP, Home, chunk, events, items_to, request, start

decode = decoder(HomeRecord)  # type: ignore[arg-type,var-annotated]
decode_event, decode_items = decoder(Event), decoder(Items)

SEEDS = st.integers(0, 5_000)
STAGES = st.sampled_from(sorted(pipeline.stages))


@lru_cache(maxsize=256)
def world(seed: int, disturbed: bool) -> World:
    """A world at rest, with everything that was ever said in it."""
    made = World(seed, WILD if disturbed else NONE, requests=1)
    made.run()
    return made


def told(seed: int, stage: str, *, disturbed: bool) -> list[Appended]:
    """All that one stage's home was told in a world."""
    return world(seed, disturbed).log.all_of(home_topic(pipeline.name, stage))


def machine(stage: str) -> StageMachine:
    return StageMachine(pipeline, stage, Always(), Limits(1_000, 30_000))


def replay(stage: str, records: list[Appended], *, forget_after: set[int] | None = None) -> list[list[Instruction]]:
    """What a home asks for, record by record. After those in `forget_after` only its encoded row is left."""
    row, mind, asked = Row(), machine(stage), []
    for n, each in enumerate(records):
        asked.append(mind.apply(row, decode(each.value), At("home", 0, n, each.at_ms)).asked)
        if forget_after is not None and n in forget_after:
            row, mind = decode_row(encode_row(row)), machine(stage)
    return asked


def outcome(asked: list[list[Instruction]]) -> dict[str, object]:
    """Everything that others can ever tell apart: items and closes by path, text by place, the end."""
    said: dict[str, object] = {}
    for each in (one for some in asked for one in some if isinstance(one, Send)):
        to = each.topic
        if to.startswith("results."):
            event = decode_event(bytes(each.record))
            known = said.setdefault(f"{event.kind} {event.stage} {event.path} {event.number}", bytes(event.body))
            assert known == bytes(event.body)
        elif to.startswith("chunks.") and b'"type":"items"' in bytes(each.record):
            record = decode_items(bytes(each.record))
            for n, child in enumerate(record.children, record.first):
                said[f"{to} {record.path} child {n}"] = (bytes(child.value), child.status)
            if record.close is not None:
                said[f"{to} {record.path} close"] = (record.close.count, record.close.status)
    return said


@given(st.data(), SEEDS, STAGES)
def test_a_home_that_loses_its_memory_decides_the_same(data: st.DataObject, seed: int, stage: str) -> None:
    records = told(seed, stage, disturbed=True)
    forgetting = data.draw(st.sets(st.integers(0, max(0, len(records) - 1))) | st.just(set(range(len(records)))))
    assert replay(stage, records, forget_after=forgetting) == replay(stage, records)


@given(st.data(), SEEDS, STAGES)
def test_whatever_is_told_again_changes_nothing(data: st.DataObject, seed: int, stage: str) -> None:
    records = told(seed, stage, disturbed=False)
    again = list(records)
    for _ in range(data.draw(st.integers(1, 6)) if records else 0):
        n = data.draw(st.integers(0, len(again) - 1))
        again.insert(data.draw(st.integers(n, len(again))), again[n])
    assert outcome(replay(stage, again)) == outcome(replay(stage, records))


@given(st.data(), SEEDS)
def test_sources_may_overtake_one_another(data: st.DataObject, seed: int) -> None:
    """Streams of different homes arrive in any order; each in its own."""
    records = told(seed, "report", disturbed=False)
    queues: dict[str, list[Appended]] = {}
    for each in records:
        record = decode(each.value)
        queues.setdefault(record.stage if isinstance(record, Items) else "request", []).append(each)
    shuffled = []
    while queues:
        source = data.draw(st.sampled_from(sorted(queues)))
        shuffled.append(queues[source].pop(0))
        if not queues[source]:
            del queues[source]
    assert outcome(replay("report", shuffled)) == outcome(replay("report", records))


TEXTS = st.lists(st.sampled_from(["one", "two", "!bad", "", "a longer line"]), max_size=6).map("\n".join)


@given(st.data(), TEXTS)
def test_how_a_text_was_cut_never_matters(data: st.DataObject, text: str) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    places = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert read(pieces) == read([text])


@given(st.data(), TEXTS)
def test_a_text_that_several_attempts_wrote_is_one_text(data: st.DataObject, text: str) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), min_size=1, max_size=4)))
    places = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert read(pieces, attempt_each=True) == read([text])


def read(pieces: list[str], *, attempt_each: bool = False) -> tuple[str, list[bytes], object]:
    """The client's text, the children and the close of a stream that arrives in these pieces."""
    home = Home(pipeline, "answer", max_attempts=100, forgetful=True)
    home.tell(request(Question("why?")), start(""))
    for n, piece in enumerate(pieces):
        end = STOP if n == len(pieces) - 1 else None
        attempt, seq = (n + 1, 0) if attempt_each else (1, n)
        if attempt_each and n:
            home.tell(start("", "a", attempt))
        home.tell(chunk("", seq, piece, attempt=attempt, end=end))
        if attempt_each and end is None:
            home.tell(chunk("", 7, "lost", attempt=attempt))
    text = "".join(json.loads(bytes(e.body))["text"] for e in events(home.said) if e.kind is EventKind.CHUNK)
    children = [bytes(child.value) for each in items_to(home.said, "claims") for child in each.children]
    (close,) = [each.close for each in items_to(home.said, "report") if each.close]
    return text, children, close
