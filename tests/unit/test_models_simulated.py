"""The reference engine: the step function against the reference simulation, and the clock on top of it."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest

from alto_streams.models.simulated import Job, RealTime, RunningBatch, Step, Timing, token_count
from tests.unit import reference_limit

CLASSES = {"answer": 40, "claims": 580, "queries": 300, "verdict": 340}

Arrival = tuple[float, Job]


def arrivals(seed: int, rate: float) -> list[Arrival]:
    rng = random.Random(seed)
    at, found = 0.0, []
    for _ in range(300):
        at += rng.expovariate(rate)
        name = rng.choice(list(CLASSES))
        found.append((at, Job(name, CLASSES[name], rng.randint(5, 900), rng.randint(1, 120))))
    return found


def virtual(calls: list[Arrival], timing: Timing) -> dict[int, tuple[float, float]]:
    """Each call's time of the first and of the last token."""
    batch, now, arrived = RunningBatch(timing), 0.0, 0
    times: dict[int, tuple[float, float]] = {}
    while len(times) < len(calls) or batch.running:
        if not batch.running and not batch.waiting:
            now = max(now, calls[arrived][0])
        while arrived < len(calls) and calls[arrived][0] <= now:
            batch.submit(arrived, calls[arrived][1])
            arrived += 1
        length = batch.begin()
        assert length is not None
        now += length
        for progress in batch.finish():
            assert isinstance(progress.key, int)
            times[progress.key] = (times.get(progress.key, (now, now))[0], now)
    return times


@pytest.mark.parametrize("rate", [0.5, 8.0, 60.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_agrees_with_the_reference_simulation(seed: int, rate: float) -> None:
    calls = arrivals(seed, rate)
    clock = reference_limit.Clock()
    engine = reference_limit.Engine(clock)
    times: dict[int, tuple[float, float]] = {}

    def submit(number: int, job: Job) -> None:
        def told(done: int) -> None:
            times[number] = (times.get(number, (clock.now, clock.now))[0], clock.now)

        engine.submit(job.prompt_class, job.prefix, job.own, job.output, told)

    for number, (at, job) in enumerate(calls):
        clock.at(at, partial(submit, number, job))
    clock.run()
    ours = virtual(calls, Timing())
    assert ours.keys() == times.keys()
    for number, (first, last) in times.items():
        assert ours[number] == pytest.approx((first, last), abs=1e-6)


def test_costs_of_a_step() -> None:
    batch = RunningBatch()
    batch.submit("a", Job("claims", 580, 20, 2))
    assert batch.begin() == pytest.approx(0.012 + 0.00025 + 0.00009 * 600)
    assert batch.finish() == [Step("a", 1, False, 0)]
    batch.submit("b", Job("claims", 580, 20, 1))
    assert batch.begin() == pytest.approx(0.012 + 2 * 0.00025 + 0.00009 * 20)
    assert batch.finish() == [Step("a", 2, True, 0), Step("b", 1, True, 580)]
    assert batch.begin() is None


def test_bounds_of_a_batch() -> None:
    batch = RunningBatch(Timing(max_running=3, max_prefill=100))
    for number in range(5):
        batch.submit(number, Job("answer", 0, 60, 1), priority=-number)
    batch.begin()
    assert [progress.key for progress in batch.finish()] == [4, 3]
    assert batch.waiting == 3


def test_a_small_cache_forgets_the_least_recent_class() -> None:
    batch = RunningBatch(Timing(prefixes=2))
    cached = []
    for name in ("a", "b", "a", "c", "a", "b"):
        batch.submit(name, Job(name, 100, 1, 1))
        batch.begin()
        cached += [progress.cached for progress in batch.finish()]
    assert cached == [0, 0, 100, 0, 100, 0]


def test_an_aborted_call_leaves_the_batch_at_once() -> None:
    batch = RunningBatch(Timing(max_running=1))
    for key in ("a", "b", "c"):
        batch.submit(key, Job("answer", 0, 1, 5))
    batch.begin()
    batch.abort("a")
    batch.abort("b")
    assert batch.finish() == []
    batch.begin()
    assert [progress.key for progress in batch.finish()] == ["c"]


def test_steps_are_begun_and_finished_in_turn() -> None:
    batch = RunningBatch()
    with pytest.raises(RuntimeError):
        batch.finish()
    batch.submit("a", Job("answer", 0, 1, 5))
    batch.begin()
    with pytest.raises(RuntimeError):
        batch.begin()


@pytest.mark.parametrize("seed", range(5))
def test_marks_leave_out_tokens_and_change_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    whole, marked = (RunningBatch(Timing(max_running=6, max_prefill=900)) for _ in range(2))
    jobs = [job for _, job in arrivals(seed, 1.0)][:60]
    marks = [sorted(rng.sample(range(1, 140), rng.randint(0, 4))) for _ in jobs]
    heard = 0
    for step in range(10_000):
        for number in range(step * 2, min(step * 2 + 2, len(jobs))):
            whole.submit(number, jobs[number])
            marked.submit(number, jobs[number], marks=marks[number])
        if step == 20:
            for batch in (whole, marked):
                batch.abort(1)
                batch.abort(59)
        assert (whole.running, whole.waiting) == (marked.running, marked.waiting)
        length = whole.begin()
        assert marked.begin() == length
        if length is None:
            break
        told = [each for each in whole.finish() if _is_told(each, marks)]
        assert marked.finish() == told
        heard += len(told)
    assert whole.begin() is None
    assert heard > 200


def _is_told(progress: Step, marks: list[list[int]]) -> bool:
    assert isinstance(progress.key, int)
    return progress.last or not marks[progress.key] or progress.done in marks[progress.key]


def test_a_mark_given_twice_is_told_of_at_the_next_token() -> None:
    batch = RunningBatch()
    batch.submit("a", Job("answer", 0, 1, 4), marks=(2, 2, 9))
    heard = []
    while batch.begin() is not None:
        heard += [(progress.done, progress.last) for progress in batch.finish()]
    assert heard == [(2, False), (3, False), (4, True)]


async def test_real_time_runs_all_calls_in_one_clock() -> None:
    timing = Timing(base_s=0.004, running_s=0.0, prefill_s=0.0)
    clock, heard = RealTime(RunningBatch(timing)), list[tuple[str, int]]()
    loop, finished = asyncio.get_running_loop(), asyncio.Event()
    began = loop.time()

    def listen(progress: Step, name: str) -> None:
        heard.append((name, progress.done))
        if progress.last and name == "b":
            finished.set()

    for name in ("a", "b", "c"):
        clock.submit(name, Job("answer", 0, 1, 20), partial(listen, name=name))
    clock.abort("c")
    async with asyncio.timeout(60):
        await finished.wait()
    assert heard == [(name, done) for done in range(1, 21) for name in ("a", "b")]
    # Twenty steps for both together; were they run one after the other, it would be forty.
    assert loop.time() - began >= 20 * 0.004 - 0.001
    await clock.close()


def test_tokens_of_a_text() -> None:
    assert [token_count(text) for text in ("", "one", "one two three four")] == [2, 2, 5]
