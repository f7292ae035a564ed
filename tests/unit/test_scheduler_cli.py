"""What `alto-streams scheduler` shows of plans, classes, workers and dispatches, at 80 columns and as JSON."""

from __future__ import annotations

import inspect
import io
import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from alto_streams.cli import dispatch_view, run_command, scheduler_view
from alto_streams.cli.scheduler_view import ago, short_names
from alto_streams.history.dispatches import Course, Dispatched
from alto_streams.history.plans import SchedulerState
from alto_streams.pipelines.factcheck import pipeline
from alto_streams.recordings.format import Became
from alto_streams.scheduler import policies
from alto_streams.scheduler.downstream import downstream
from alto_streams.scheduler.statistics import Statistics
from alto_streams.wire.plans import Candidate, ClassReport, EngineReport, Forecast, Load, Plan, Receipt
from alto_streams.wire.records import Status
from alto_streams.wire.request_ids import request_id_at

AT_MS = 1_900_000_000_000
ONE, TWO = "http://10.0.0.1:6066", "http://10.0.0.2:6066"
CLAIMS, VERDICT = "factcheck.claims", "factcheck.verdict"
OWNERS = {CLAIMS: [ONE, ONE, TWO, ONE], VERDICT: [TWO, TWO]}


def text(parts: Iterable[RenderableType], width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
    for part in parts:
        console.print(part)
    return console.export_text()


def row(shown: str, first: str) -> list[str]:
    """The cells of the line that begins with this."""
    (line,) = [line for line in shown.splitlines() if line.split()[:1] == [first]]
    return line.split()[1:]


def known(
    *, loads: dict[str, Load] | None = None, plan: bool = True, reports: bool = True, why: str = ""
) -> SchedulerState:
    """Two workers of the model `judge`, the second of which was heard a minute ago."""
    statistics = Statistics(lost_s=7.0, course=downstream(pipeline))
    told = ClassReport(CLAIMS, 20, 20, 20 * 180, 20 * 120, 130, [40] * 20, 4.0, 20.0)
    for worker, late_ms in ((ONE, 500), (TWO, 60_000)) if reports else ():
        engine = f"openai http://vllm-{worker[-6]}:8000"
        statistics.take(EngineReport("judge", worker, engine, AT_MS - late_ms, 1.0, 64, 3, 1, 99, [told]))
    found = SchedulerState(AT_MS, ["chat", "judge"], statistics, loads={"judge": loads or {}}, without_loads=why)
    if plan:
        weights = {CLAIMS: {ONE: 0.8, TWO: 0.2}, VERDICT: {TWO: 1.0}}
        found.plans["judge"] = Plan("judge", 7, AT_MS - 150_000, "gain 18%", OWNERS, weights, {ONE: 0.9, TWO: 1.1})
        found.forecasts["judge"] = Forecast("judge", AT_MS - 3_000)
    return found


def load(worker: str, late_ms: int = 40, **owned: list[int]) -> Load:
    mine = {f"factcheck.{stage}": partitions for stage, partitions in owned.items()}
    return Load(worker, AT_MS - late_ms, 3, 1, {"a": 1_200, "b": 34}, [CLAIMS], mine)


def test_a_plan_is_shown_with_its_owners_classes_and_workers() -> None:
    both = {ONE: load(ONE, claims=[0, 1, 3]), TWO: load(TWO, late_ms=9_000, claims=[2])}
    shown = text(scheduler_view.drawn(scheduler_view.fields(known(loads=both), "judge")))
    assert "model judge  plan 7, 2 min old: gain 18%" in shown
    assert row(shown, "OWNER") == ["SPEED", "BUSY", "CLAIMS", "VERDICT"]
    assert "* owns other partitions" in shown, "the second has not got the verdicts yet"
    assert row(shown, "10.0.0.2*") == ["-", "1.10", "1", "·", "20%", "2", "·", "100%"]
    prompt, prefix, hit, output = row(shown, "claims")[1:5]
    assert (prefix, hit) == ("130", "92%")
    assert 180 <= int(prompt) <= 195, "as reported, with a little of what is assumed"
    assert 40 <= int(output) <= 50
    assert "no call of queries, verdict in the last ten minutes" in shown
    wide = text(scheduler_view.drawn(scheduler_view.fields(known(loads=both), "judge")), width=160)
    first, second = (re.split(r"  +", line.rstrip()) for line in wide.splitlines() if "vllm" in line)
    assert first == ["10.0.0.1", "there", "3/64", "1", "1,234", "40 ms", "92%", "claims", "openai http://vllm-1:8000"]
    assert second[1:6] == ["silent 60.0 s", "3/64", "1", "1,234", "9.0 s stale"]
    assert max(map(len, shown.splitlines())) <= 80


def test_without_a_plan_or_loads_it_says_what_happens_instead() -> None:
    shown = text(scheduler_view.drawn(scheduler_view.fields(known(plan=False), "judge")))
    assert "no plan: calls go to the partitions in turn" in shown
    assert "worker --scheduler" in shown
    assert shown.rstrip().endswith("no loads")
    shown = text(scheduler_view.drawn(scheduler_view.fields(known(why="redis at r: ConnectionError"), "judge")))
    assert "no loads: dispatch goes by the plan's weights (redis at r: ConnectionError)" in shown
    nothing = scheduler_view.fields(known(plan=False, reports=False), "judge")
    assert (nothing["plan"], nothing["workers"]) == (None, {})


def test_all_of_it_is_json() -> None:
    shown = json.loads(json.dumps(scheduler_view.fields(known(loads={ONE: load(ONE, claims=[0, 1, 3])}), "judge")))
    assert shown["plan"]["owners"] == {CLAIMS: {ONE: 3, TWO: 1}, VERDICT: {TWO: 2}}
    assert shown["workers"][ONE]["load"]["work"] == 1_234
    assert [shown["workers"][each]["follows"] for each in (ONE, TWO)] == [True, None]
    assert [shown["workers"][each]["state"] for each in (ONE, TWO)] == ["there", "silent"]
    assert (shown["forecast_age_s"], shown["classes"][VERDICT]["calls"]) == (3.0, 0)


REQUEST = request_id_at(AT_MS, 5)
ESCAPE = [Candidate(ONE, 2_000, True), Candidate(TWO, 40)]


def dispatched(number: int, receipt: Receipt | None, **changes: Any) -> Dispatched:
    given: dict[str, Any] = {"stage": "claims", "path": f"{number}", "attempt": 1, "model": "judge"}
    return Dispatched(AT_MS + number, **(given | changes), partition=3, offset=number, receipt=receipt)


def course(*dispatches: Dispatched) -> Course:
    became = Became(Status.OK, "x", 2.5)
    return Course(REQUEST, "factcheck", AT_MS, became=became, dispatches=list(dispatches))


def test_a_dispatch_is_explained() -> None:
    shown = text(
        dispatch_view.drawn(
            course(
                dispatched(12, Receipt("prompt_aware", "escape", "me", TWO, 50, 7, True, 80, candidates=ESCAPE)),
                dispatched(13, Receipt("prompt_aware", "weights", "me", ONE, 50, 7), attempt=2),
                dispatched(14, Receipt("round_robin", "turn", "me"), stage="answer", path=""),
                dispatched(15, None),
            )
        ),
        width=100,
    )
    assert f"request {REQUEST} of factcheck" in shown
    assert "ended ok after 2.50 s: 4 dispatches of 4 calls by prompt_aware, round_robin" in " ".join(shown.split())
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "claims 12 0.012 s 10.0.0.2 escape 50 40 10.0.0.1 2,000 warm 7 80 ms" in lines
    assert "claims 13 (2) 0.013 s 10.0.0.1 weights 50 - - 7 -" in lines
    assert "answer 0.014 s partition 3 turn 0 - - - -" in lines
    assert "claims 15 0.015 s partition 3 in turn - - - - -" in lines
    assert "(2): the call's second attempt, and so on" in lines
    assert "escape: those drawn had far more than the mean" in shown


def test_a_hundred_calls_are_a_line_each() -> None:
    receipt = Receipt("prompt_aware", "warm", "me", ONE, 50, 7, True, 80, candidates=ESCAPE)
    shown = text(dispatch_view.drawn(course(*(dispatched(number, receipt) for number in range(100)))))
    assert 100 <= len(shown.splitlines()) <= 110
    assert max(map(len, shown.splitlines())) <= 80


def test_a_dispatch_is_json_with_every_field() -> None:
    shown = json.loads(
        json.dumps(dispatch_view.fields(course(), dispatched(1, Receipt("round_robin", "turn", "me", work=9))))
    )
    assert (shown["class"], shown["after_s"], shown["receipt"]["work"]) == (CLAIMS, 0.001, 9)
    assert set(shown["receipt"]) == set(Receipt.__struct_fields__)
    assert dispatch_view.fields(course(), dispatched(1, None))["receipt"] is None


def test_a_request_without_calls_and_one_that_is_old() -> None:
    old = course()
    old.became, old.may_lack = None, ["work.factcheck.claims"]
    shown = text(dispatch_view.drawn(old))
    assert "still under way" in shown
    assert "no call has been dispatched" in shown
    assert "some dispatches may be missing" in shown


def test_every_reason_of_every_policy_is_explained() -> None:
    """The words are those that the policies use; `hash` is the name of one besides."""
    said = set(re.findall(r'"(\w+)"', inspect.getsource(policies))) - {"inf"}
    assert said - set(policies.POLICIES) == set(dispatch_view.REASONS) - set(policies.POLICIES)
    assert set(dispatch_view.REASONS) <= said


@pytest.mark.parametrize(
    ("names", "short"),
    [
        ([ONE, TWO], ["10.0.0.1", "10.0.0.2"]),
        (["http://h:1", "http://h:2"], [":1", ":2"]),
        (["http://h:1"], ["h:1"]),
        (["http://h:1", "http://g:2"], ["h:1", "g:2"]),
        (["engine-0", "http://g:2"], ["engine-0", "http://g:2"]),
        ([], []),
    ],
)
def test_workers_are_told_apart_by_little(names: list[str], short: list[str]) -> None:
    assert list(short_names(names).values()) == short


def test_ages() -> None:
    assert [ago(each) for each in (0.04, 2.5, 119, 150, 7_300, 400_000)] == [
        *("40 ms", "2.5 s", "119.0 s", "2 min", "2 h", "5 d"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "--model", "nope"], "--model nope: there is none of that name; known: chat, judge"),
        (["explain"], "request"),
        (["explain", "nonsense"], "'nonsense': the request id is no UUID; give the id"),
        (["explain", REQUEST, "--pipeline", "nope"], "known: factcheck"),
        (["explain", REQUEST, "--stage", "evidence"], "no stage of that name calls a model; known: answer, claims"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["scheduler", *arguments]) == 2
    error = capsys.readouterr().err
    assert said.lower() in error.lower()
    assert error.count("\n") == 1
