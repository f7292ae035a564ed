"""Rules that the shells and the simulator share: what of an instruction still counts, and whom a request goes to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import alto_streams.simulator
from alto_streams.agents.home.entrance import Entrance
from alto_streams.errors import Poison
from alto_streams.scheduler.admission import CROWDED, Admission
from alto_streams.tables.instructions import in_waves, is_open, takes_effect, timer_name
from alto_streams.tables.rows import Arm, CallState, Row, Send
from alto_streams.wire.records import Cancel, Context, Raw, Request, Status, Timer
from alto_streams.wire.request_ids import request_id_at
from tests.simulation.script import pipeline

MADE_MS, HORIZON_MS = 1_000_000, 60_000
REQUEST = request_id_at(MADE_MS, 1)
ROW = Row(calls={"0": CallState(attempt=2, mark=5), "1": CallState(attempt=1, mark=3, closed=True)})
HOMES = ["chunks.factcheck.answer", "chunks.factcheck.report"]


@pytest.mark.parametrize(
    ("path", "attempt", "wanted"), [("0", 2, True), ("0", 1, False), ("1", 1, False), ("2", 1, False)]
)
def test_an_attempt_is_still_to_be_made_while_it_is_the_open_one(path: str, attempt: int, wanted: bool) -> None:
    assert is_open(ROW, path, attempt) is wanted


@pytest.mark.parametrize(
    ("timer", "wanted"),
    [
        (Timer(REQUEST, "0", 2, 5), True),
        (Timer(REQUEST, "0", 2, 4), False),  # something was heard since
        (Timer(REQUEST, "0", 2, 4, due=True), True),
        (Timer(REQUEST, "2", 1, 0), False),
        (Timer(REQUEST, "", 0, 0), True),  # the request's deadline
    ],
)
def test_a_timer_is_told_unless_something_was_heard_since(timer: Timer, wanted: bool) -> None:
    assert takes_effect(ROW, timer) is wanted


def test_a_timer_and_what_armed_it_have_one_name() -> None:
    armed = [Arm("", 0, 0, 1), Arm("0", 1, 2, 1), Arm("0", 2, 0, 1, due=True)]
    fired = [Timer(REQUEST, "", 0, 0), Timer(REQUEST, "0", 3, 7), Timer(REQUEST, "0", 1, 0, due=True)]
    assert [timer_name(each) for each in armed] == [timer_name(each) for each in fired]
    assert len({timer_name(each) for each in armed}) == 3


def test_what_may_end_a_request_waits_for_the_events_of_its_client() -> None:
    event, item, close = Send("results.p", Raw(b"1")), Send("chunks.p.a", Raw(b"2")), Send("x", Raw(b"3"), last=True)
    assert in_waves([close, event, item], "results.p") == [[event, item], [close]]
    assert in_waves([close, item], "results.p") == [[close, item]]
    assert in_waves([], "results.p") == []


def entrance(admission: Admission | None = None) -> Entrance:
    return Entrance(pipeline, Admission() if admission is None else admission, HORIZON_MS)


def asked(**context: object) -> Request:
    return Request(REQUEST, "factcheck", Raw(b"{}"), Context(**context))  # type: ignore[arg-type]


def test_a_request_goes_to_the_root_and_to_whoever_takes_it() -> None:
    passed = entrance().passed(asked(), MADE_MS, MADE_MS)
    assert passed is not None
    assert sorted(passed) == [(topic, None) for topic in HOMES]


def test_one_that_is_read_past_the_horizon_goes_to_the_root_alone_and_a_repetition_nowhere() -> None:
    assert entrance().passed(asked(), MADE_MS, MADE_MS + HORIZON_MS + 1) == [(HOMES[1], None)]
    assert entrance().passed(asked(), MADE_MS + HORIZON_MS + 1, MADE_MS + HORIZON_MS + 2) is None


class Full(Admission):
    def admit(self, request: str, due_ms: int, now_ms: int) -> bool:
        return False


def test_one_that_would_be_too_many_is_shed_by_the_root() -> None:
    shed = [(HOMES[1], Cancel(REQUEST, "", Status.SHED, CROWDED))]
    assert entrance(Full()).passed(asked(shed=True, deadline_ms=MADE_MS + 9), MADE_MS, MADE_MS) == shed
    for context in ({"shed": True}, {"deadline_ms": MADE_MS + 9}):
        assert len(entrance(Full()).passed(asked(**context), MADE_MS, MADE_MS) or []) == 2


def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(Poison):
        entrance().passed(Request("no id", "factcheck", Raw(b"{}")), MADE_MS, MADE_MS)


def constants(folder: Path) -> set[str]:
    """The names that modules below a folder give to values of their own."""
    names: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.Assign):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name) and target.id.isupper()}
    return names


def test_no_bound_of_the_shells_stands_in_the_simulator_once_more() -> None:
    """What stands twice drifts apart: the simulator imports what the shells go by."""
    package = Path(alto_streams.simulator.__file__).parents[1]
    assert constants(package / "simulator") & constants(package / "agents") == set()
    assert {"QUIET_S", "HELD_AGAIN_MS", "REPORT_S"} <= constants(package)
