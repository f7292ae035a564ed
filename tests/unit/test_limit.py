"""The limit: against the reference simulation on the same draws, and what must hold of it whatever the figures."""

from __future__ import annotations

import pytest

from alto_streams.models.simulated import Timing
from loadtest.console import RECORDING
from loadtest.limit import POLICIES, Policy, limit_run
from loadtest.reference.workload import ClaimCalls, ReferenceRequest, SentencePart, load_workload
from loadtest.samples import MODES, Sample, figures
from tests.unit import reference_limit

TICKS = Timing(base_s=0.01, running_s=0.0, prefill_s=0.0)


def made_up(name: str, claims_of: tuple[int, ...]) -> ReferenceRequest:
    parts = tuple(
        SentencePart(
            f"{name}{n}.", 20, tuple(ClaimCalls(f"{name}{n}.{k}", True, 10, 30 + k, 60 + n) for k in range(claims))
        )
        for n, claims in enumerate(claims_of)
    )
    return ReferenceRequest(name, f"{name}?", 30, " ".join(part.text for part in parts), parts)


ROWS = [made_up("a", (1, 0, 2)), made_up("b", (3,)), made_up("c", (0, 1, 1, 1))]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rate", [0.5, 4.0, 8.0])
def test_agrees_with_the_reference_simulation(rate: float, seed: int) -> None:
    rows, requests = reference_limit.read(RECORDING), load_workload(RECORDING)
    runs = {policy: limit_run(policy, rate, requests, 300, seed) for policy in ("barrier", "stream")}
    for mode, policy in POLICIES.items():
        wanted = reference_limit.simulate(mode, rate, rows, 300, seed)
        ours = figures([runs[policy]], mode)
        assert wanted.ended == 1.0
        # The draws are the same, in the same order, so nothing may differ.
        assert (ours.mean_s, ours.p50_s, ours.p99_s) == pytest.approx(
            (wanted.mean_s, wanted.p50_s, wanted.p99_s), rel=1e-9
        )


def test_agrees_with_the_reference_simulation_on_draws_of_its_own() -> None:
    rows, requests = reference_limit.read(RECORDING), load_workload(RECORDING)
    theirs = [reference_limit.simulate("stream", 4.0, rows, 500, seed).mean_s for seed in range(1, 7)]
    ours = figures([limit_run("stream", 4.0, requests, 500, seed) for seed in range(11, 17)], "stream")
    assert ours.mean_s == pytest.approx(sum(theirs) / len(theirs), rel=0.04)


def test_one_request_alone() -> None:
    request = made_up("a", (0, 2))
    # 40 tokens of the answer, 2 * 16 until the second claim's line has ended, 31 of its queries, and its verdict's.
    line, end = (40 + 32 + 31 + tokens for tokens in (12, 61))
    for policy in POLICIES.values():
        (sample,) = limit_run(policy, 1.0, [request], 1, seed=5, engines=4, timing=TICKS)
        assert sample.row == "a"
        assert sample.ttft_s == pytest.approx(0.01)
        assert sample.last_verdict_s is not None
        assert sample.done_s is not None
        assert line * 0.01 + 0.075 <= sample.last_verdict_s <= line * 0.01 + 0.225 + 0.01
        assert end * 0.01 + 0.075 <= sample.done_s <= end * 0.01 + 0.225 + 0.01


def test_a_barrier_waits_for_the_whole_request() -> None:
    request = made_up("a", (1, 0, 0, 0, 1))
    (stream,), (barrier,) = (
        limit_run(policy, 1.0, [request], 1, seed=5, timing=TICKS) for policy in ("stream", "barrier")
    )
    assert stream.first_verdict_s is not None
    assert barrier.first_verdict_s is not None
    assert stream.ttft_s == barrier.ttft_s
    # The first sentence's claim is judged before the answer has ended; with barriers, after all claims were written.
    assert stream.first_verdict_s < (20 + 16 + 30 + 12) * 0.01 + 0.225 + 0.02
    assert barrier.first_verdict_s > (100 + 32 + 30 + 12) * 0.01 + 0.075


@pytest.mark.parametrize("policy", ["stream", "barrier"])
@pytest.mark.parametrize("rate", [0.5, 20.0])
def test_every_request_ends_in_order(policy: Policy, rate: float) -> None:
    samples = limit_run(policy, rate, ROWS, 60, seed=3)
    assert len(samples) == 60
    assert [sample.at_s for sample in samples] == sorted(sample.at_s for sample in samples)
    for sample in samples:
        times = (sample.ttft_s, sample.first_verdict_s, sample.last_verdict_s, sample.done_s)
        known = [each for each in times if each is not None]
        assert len(known) == 4
        assert known == sorted(known)
        assert known[0] > 0


def test_a_seed_replays() -> None:
    first, again, other = (limit_run("stream", 6.0, ROWS, 40, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_more_load_costs_latency_and_more_engines_spare_it() -> None:
    means = {mode: [_mean(mode, rate) for rate in (0.5, 4.0, 12.0)] for mode in MODES}
    for of_mode in means.values():
        assert of_mode == sorted(of_mode)
    for verdict_first, stream, barrier in zip(means["verdict_first"], means["stream"], means["barrier"], strict=True):
        assert verdict_first < stream < barrier
    assert _mean("stream", 12.0, engines=8) < _mean("stream", 12.0, engines=4) < _mean("stream", 12.0, engines=2)


def _mean(mode: str, rate: float, engines: int = 4) -> float:
    samples: list[Sample] = limit_run(POLICIES[mode], rate, ROWS, 150, seed=4, engines=engines)
    return figures([samples], mode).mean_s
