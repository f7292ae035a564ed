"""The simulator: what it says of the reference workload, and that it always says the same."""

from __future__ import annotations

import asyncio
import json
import random

import msgspec
import pytest

from alto_streams.define.parsers import JsonLines, Lines
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.models.simulated import Timing
from alto_streams.simulator import SimulatedRequest, SimulatedSystem, SimulationError, simulate
from alto_streams.tables.calls import Limits
from alto_streams.wire.plans import Plan
from alto_streams.wire.records import Call, Message, Mode, Status
from alto_streams.wire.request_ids import created_ms, request_id_at


class Question(Record):
    text: str


class Point(Record):
    text: str


class Found(Record):
    text: str


class Judged(Record):
    good: bool


class Summary(Record):
    good: list[bool]
    failures: int


class Search:
    """What the tests put into the place of a search."""

    async def search(self, text: str) -> str:
        await asyncio.sleep(0.25 * random.uniform(0.5, 1.5))
        return f"{text} {random.random()}"


class Threaded(Search):
    async def search(self, text: str) -> str:
        return await asyncio.to_thread(text.upper)


class Stuck(Search):
    async def search(self, text: str) -> str:
        await asyncio.Event().wait()
        return text


class Instant(Search):
    async def search(self, text: str) -> str:
        return text


class Overlapping(Search):
    """Two at once, the slower of which takes a second."""

    async def search(self, text: str) -> str:
        await asyncio.gather(asyncio.sleep(0.5), asyncio.sleep(1.0))
        return text


def pipeline_with(search: type[Search] = Search) -> Pipeline:
    made = Pipeline("small", request=Question)

    @made.resource
    def a_search() -> Search:
        return search()

    def points(question: Question) -> Prompt[Point]:
        return Prompt([Message("system", "Make points.")], question.text, Lines(Point), 100)

    async def found(point: Point, search: Search) -> Found:
        return Found(await search.search(point.text))

    def judged(point: Point, found: Gather[Found]) -> Prompt[Judged]:
        return Prompt([Message("system", "Judge.")], point.text, JsonLines(Judged, limit=1), 100)

    def summary(question: Question, judged: Gather[Judged]) -> Summary:
        return Summary([each.good for each in judged], len(judged.failures))

    made.generate(model="one")(points)
    made.map(timeout_s=5.0)(found)
    made.generate(model="two")(judged)
    made.gather(summary)
    return made


def script(prompt_class: str, call: Call) -> list[str] | None:
    """Three points, whose verdicts take ten tokens each; of a bad one nothing is recorded."""
    if prompt_class == "small.points":
        return [f"{call.subject} ", "one\n", f"{call.subject} ", "two\n", "bad\n" if call.subject == "b" else "three\n"]
    return None if call.subject == "bad" else ['{"good": true}\n', *["so "] * 9]


def some(count: int = 20, name: str = "a", mode: Mode = Mode.STREAM) -> list[SimulatedRequest]:
    return [SimulatedRequest(n, n * 0.05, json.dumps({"text": name}).encode(), mode) for n in range(count)]


def test_a_result_is_what_the_script_says() -> None:
    outcomes = list(simulate(pipeline_with(), some(), SimulatedSystem(script)))
    assert sorted(each.number for each in outcomes) == list(range(20))
    assert {each.result for each in outcomes} == {b'{"good":[true,true,true],"failures":0}'}
    assert {each.status for each in outcomes} == {Status.OK}
    ends = [each.at_s + each.done_s for each in outcomes]
    assert ends == sorted(ends)
    for each in outcomes:
        assert each.ttft_s is not None
        assert each.first_item_s is not None
        assert each.last_item_s is not None
        assert 0 < each.ttft_s < each.first_item_s <= each.last_item_s < each.done_s


def test_a_call_that_its_engine_refuses_is_a_failed_leaf() -> None:
    (outcome,) = simulate(pipeline_with(), some(1, "b"), SimulatedSystem(script))
    assert outcome.status is Status.OK
    assert outcome.result == b'{"good":[true,true],"failures":1}'


@pytest.mark.parametrize("mode", list(Mode))
def test_two_runs_are_the_same_and_another_seed_is_not(mode: Mode) -> None:
    runs = [list(simulate(pipeline_with(), some(mode=mode), SimulatedSystem(script), seed)) for seed in (1, 1, 2)]
    first, again, other = (msgspec.json.encode(run) for run in runs)
    assert first == again != other


def test_callers_draw_from_random_as_if_nothing_ran_beside_them() -> None:
    random.seed(5)
    alone = [random.random() for _ in range(3)]
    random.seed(5)
    outcomes = simulate(pipeline_with(), some(3), SimulatedSystem(script))
    assert [random.random() for _ in outcomes] == alone


def test_draws_belong_to_a_call_and_not_to_its_moment() -> None:
    system = SimulatedSystem(script, hop_s=0.001)
    searched = {}
    for apart_s in (0.01, 1.0):
        requests = [SimulatedRequest(n, n * apart_s, b'{"text": "a"}') for n in range(5)]
        seen: list[str] = []

        class Seen(Search):
            async def search(self, text: str, seen: list[str] = seen) -> str:
                found = f"{text} {random.random()}"
                seen.append(found)
                return found

        list(simulate(pipeline_with(Seen), requests, system))
        searched[apart_s] = sorted(seen)
    assert len(searched[1.0]) == 15
    assert searched[0.01] == searched[1.0]


def test_each_hop_takes_its_time() -> None:
    alike = Timing(running_s=0.0, prefill_s=0.0)  # so that it does not matter who runs beside whom
    at_once, later = (
        next(simulate(pipeline_with(Instant), some(1), SimulatedSystem(script, timing=alike, hop_s=hop_s)))
        for hop_s in (0.0, 0.1)
    )
    # The request, the same to the first home, a work item, its chunk, and the event.
    assert later.ttft_s == pytest.approx((at_once.ttft_s or 0) + 5 * 0.1)
    # From the chunk on: items, a result, items, a work item, its chunk, items, and the event.
    assert later.done_s == pytest.approx(at_once.done_s + 11 * 0.1)


def test_functions_that_wait_do_so_in_virtual_time() -> None:
    instant, waiting = (
        next(simulate(pipeline_with(search), some(1), SimulatedSystem(script))) for search in (Instant, Overlapping)
    )
    assert waiting.done_s - instant.done_s == pytest.approx(1.0, abs=0.1)


def test_a_function_that_hangs_fails_when_its_time_is_up() -> None:
    (outcome,) = simulate(pipeline_with(Stuck), some(1), SimulatedSystem(script))
    assert outcome.done_s > 5.0
    assert json.loads(outcome.result)["good"] == [True] * 3  # judged without what could not be found


def test_a_function_that_leaves_its_thread_cannot_be_simulated() -> None:
    with pytest.raises(SimulationError, match=r"small\.found: .*run_in_executor.*asyncio\.sleep"):
        list(simulate(pipeline_with(Threaded), some(1), SimulatedSystem(script)))


async def test_it_runs_beside_an_event_loop() -> None:
    assert len(list(simulate(pipeline_with(Overlapping), some(3), SimulatedSystem(script)))) == 3
    await asyncio.sleep(0)


def test_whoever_stops_listening_leaves_nothing_behind() -> None:
    outcomes = simulate(pipeline_with(), some(), SimulatedSystem(script))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]


def test_a_slow_engine_is_not_taken_for_a_silent_one() -> None:
    system = SimulatedSystem(script, timing=Timing(base_s=12.0), limits=Limits(max_attempts=2, silence_ms=30_000))
    (outcome,) = simulate(pipeline_with(Instant), some(1), system)
    assert outcome.result == b'{"good":[true,true,true],"failures":0}'
    assert outcome.done_s == pytest.approx(12 * 15, rel=0.01)  # tokens: five of the points, ten of the last verdict


def test_ids_tell_time_and_number() -> None:
    names = [request_id_at(1_767_225_600_123, number) for number in (0, 1, (1 << 62) - 1)]
    assert len(set(names)) == 3
    assert {created_ms(name) for name in names} == {1_767_225_600_123}
    with pytest.raises(ValueError, match="2\\^62"):
        request_id_at(0, 1 << 62)


def test_a_number_belongs_to_one_request() -> None:
    with pytest.raises(ValueError, match="number 0"):
        list(simulate(pipeline_with(), [*some(1), *some(1)], SimulatedSystem(script)))


def test_a_slow_engine_gets_less_and_a_lost_one_loses_nothing() -> None:
    ended: dict[str, int] = {}
    plans: list[tuple[float, str]] = []

    class Seen:
        def ended(self, at_s: float, worker: str, prompt_class: str, prefix: int, cached: int) -> None:
            ended[worker] = ended.get(worker, 0) + 1

        def planned(self, at_s: float, plan: Plan) -> None:
            plans.append((at_s, plan.cause))

    slow = SimulatedSystem(script, hop_s=0.01, policy="prompt_aware", speeds=(1.0, 1.0, 1.0, 0.25))
    requests = some(800)
    assert {each.status for each in simulate(pipeline_with(), requests, slow, watch=Seen())} == {Status.OK}
    assert ended["engine-3"] < 0.5 * ended["engine-0"]
    plans.clear()
    lossy = SimulatedSystem(script, hop_s=0.01, policy="prompt_aware", session_s=5.0, lost=((0, 20.0),))
    outcomes = list(simulate(pipeline_with(), requests, lossy, watch=Seen()))
    assert {each.result for each in outcomes} == {b'{"good":[true,true,true],"failures":0}'}
    assert len(outcomes) == len(requests)
    lost_s = next(at_s for at_s, cause in plans if cause == "lost engine-0")
    assert lost_s <= 20.0 + 5.0 + 1.0


def test_under_overload_shedding_keeps_requests_in_time() -> None:
    slow = SimulatedSystem(script, hop_s=0.01, engines=1, timing=Timing(base_s=0.1, running_s=0.0, max_running=8))
    shed = [SimulatedRequest(n, n * 0.25, b'{"text": "a"}', deadline_s=4.0, shed=True) for n in range(160)]
    outcomes = list(simulate(pipeline_with(), shed, slow))
    assert len(outcomes) == len(shed)
    statuses = [each.status for each in outcomes]
    assert statuses.count(Status.SHED) > 20
    assert all(each.done_s < 4.1 for each in outcomes)
    kept = [SimulatedRequest(n, n * 0.25, b'{"text": "a"}') for n in range(160)]
    in_time = [each for each in simulate(pipeline_with(), kept, slow) if each.done_s <= 4.0]
    assert statuses.count(Status.OK) > 1.5 * len(in_time)
