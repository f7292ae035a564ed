"""What a run under faults reports: each kind of wrong is counted, each silence charged to the fault that made it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from alto_streams.client import ClientEvent
from alto_streams.wire.records import Event, EventKind, Raw
from loadtest.chaos_check import Checker, Tally
from loadtest.chaos_gaps import Fault, gaps, percentile, silences
from loadtest.chaos_load import Asked
from loadtest.chaos_plan import Amount, Kind, Role, plan
from loadtest.results_log import check_log
from tests.e2e.systems import write_rows

ROW = {
    "id": "one",
    "prompt": "What is the capital of France?",
    "response": "It is Paris.",
    "claims": [{"claim": "The capital of France is Paris", "label": True}],
}
CLAIM = "The capital of France is Paris"
PARTS = {
    Role.LM: ["lm-chat", "lm-judge"],
    Role.STAGE: ["claims", "verdict"],
    Role.EGRESS: ["egress"],
    Role.GATEWAY: ["gateway", "gateway-2"],
}


@pytest.fixture
def checker(tmp_path: Any) -> Checker:
    return Checker(write_rows(tmp_path / "rows.jsonl", [ROW]))


def heard(checker: Checker, verdict: bool = True) -> list[ClientEvent]:
    """What the client of a request that went well hears."""
    evidence = [{"source": source, "text": text} for source, text in checker._own(CLAIM)]
    judged = {"claim": CLAIM, "verdict": verdict, "cause": None, "evidence": evidence}
    told: list[tuple[EventKind, str, str, int, Any]] = [
        (EventKind.ACCEPTED, "report", "", 0, {}),
        (EventKind.CHUNK, "answer", "", 0, {"text": "It is "}),
        (EventKind.CHUNK, "answer", "", 1, {"text": "Paris."}),
        (EventKind.ITEM, "claims", "0/0", 0, {"value": {"claim": CLAIM}}),
        (EventKind.ITEM, "verdict", "0/0/0", 0, {"value": judged}),
        (EventKind.DONE, "report", "", 0, {"status": "ok", "result": {"claims": [judged]}}),
    ]
    return [
        ClientEvent(10 + at, kind, stage, path, number, 0, body)
        for at, (kind, stage, path, number, body) in enumerate(told)
    ]


def tally_of(checker: Checker, events: Sequence[ClientEvent]) -> dict[str, int]:
    tally = Tally()
    checker.check([Asked(0, ROW, 0.0, heard=[(float(at), event) for at, event in enumerate(events)])], tally)
    counted = msgspec.to_builtins(tally)
    assert tally.is_clean == (not tally.details)
    return {name: count for name, count in counted.items() if name != "details" and count}


def test_a_request_that_went_well_counts_nothing(checker: Checker) -> None:
    assert len(checker._own(CLAIM)) > 0
    assert tally_of(checker, heard(checker)) == {}


def test_each_kind_of_wrong_is_counted(checker: Checker) -> None:
    events = heard(checker)
    wrong = msgspec.structs.replace
    assert tally_of(checker, events[:-1]) == {"lost": 1}
    assert tally_of(checker, events[:2] + events[3:]) == {"lost": 1}
    assert tally_of(checker, events[:3] + events[4:]) == {"lost": 1}
    assert tally_of(checker, [*events[:3], events[2], *events[3:]]) == {"duplicated": 1}
    again = wrong(events[2], id=99, body={"text": "Rome."})
    assert tally_of(checker, [*events, again]) == {"duplicated": 1, "conflicting": 1}
    assert tally_of(checker, [*events[:2], wrong(events[2], body={"text": "Parma."}), *events[3:]]) == {
        "conflicting": 1
    }
    second = wrong(events[4], path="0/0/1", id=98)
    assert tally_of(checker, [*events[:5], second, *events[5:]]) == {"duplicated": 1, "conflicting": 1}
    assert tally_of(checker, heard(checker, verdict=False)) == {"wrong_verdicts": 1}
    assert tally_of(checker, [*events, wrong(events[-1], id=99, number=1)]) == {"gathers_twice": 1}
    del events[-1].body["result"]["claims"][0]["evidence"][0]
    assert tally_of(checker, events) == {"wrong_evidence": 1}


def of(kind: EventKind, number: int, text: str = "", path: str = "") -> Event:
    return Event("r", kind, "answer", path, number, 0, Raw(msgspec.json.encode({"text": text})))


def test_the_log_is_judged_in_offset_order() -> None:
    first, second, close = of(EventKind.CHUNK, 0, "a"), of(EventKind.CHUNK, 1, "b"), of(EventKind.CLOSE, 2)
    done = of(EventKind.DONE, 0)
    assert check_log([first, second, close, done]).in_order
    repeated = check_log([first, second, first, second, close, done])
    assert (repeated.repeats, repeated.is_clean, repeated.in_order) == (2, True, False)
    assert check_log([first, close]).holes == 1
    assert check_log([first, close]).details == ["in the log: 1 missing: r answer "]
    assert check_log([second, first, close]).reordered == 1
    assert check_log([first, of(EventKind.CHUNK, 0, "c")]).conflicting == 1
    assert check_log([first, done, of(EventKind.DONE, 1)]).second_done == 1
    assert check_log([first, done, second]).after_done == 1


def test_a_silence_is_charged_to_the_fault_that_it_began_with() -> None:
    kill = Fault(10.0, "kill", "lm", "lm", 8.0)
    late = Fault(19.0, "kill", "lm-2", "lm", 8.0)
    found = gaps([late, kill], silences([[8.0, 9.5, 20.0, 20.5], [18.0, 21.0]]))
    assert [(gap.fault.part, gap.length_s, gap.alone) for gap in found] == [("lm", 10.5, True), ("lm-2", 10.5, False)]
    assert not gaps([Fault(10.0, "kill", "lm", "lm", 8.0), Fault(12.0, "kill", "x", "lm", 8.0)], [])[0].alone
    untouched = gaps([kill], silences([[0.0, 9.0], [18.5, 30.0]]))
    assert [(gap.length_s, gap.silence) for gap in untouched] == [(0.0, None)]


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    random.Random(3).shuffle(values)
    assert [percentile(values, share) for share in (0.5, 0.95, 1.0)] == [50.0, 95.0, 100.0]
    assert percentile([], 0.95) is None


def test_a_plan_holds_what_it_promises_and_replays_from_its_seed() -> None:
    amount = Amount(kills=106, stops=20, broker_restarts=2, redis_restarts=1)
    rounds = plan(amount, PARTS, 6.0, 1)
    assert rounds == plan(amount, PARTS, 6.0, 1)
    assert rounds != plan(amount, PARTS, 6.0, 2)
    victims = [victim for each in rounds if each.kind is Kind.KILL for victim in each.victims]
    assert len(victims) >= 200
    assert sum(victim.startswith("lm-") for victim in victims) * 2 >= len(victims)
    assert [each.is_hard for each in rounds if each.kind is Kind.BROKER] == [True, False]
    assert all(each.pause_s > 6.0 for each in rounds if each.kind is Kind.STOP)
    assert sum(each.then_s for each in rounds) < 27 * 60
