"""The LangGraph twin of the reference pipeline: what it delivers, and that it waits for no more than it must."""

from __future__ import annotations

import asyncio
import json
import random
import selectors
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from langsmith import utils as langsmith_utils

from alto_streams.models.scripted import ScriptedEngine
from alto_streams.models.simulated import Timing
from loadtest import langgraph_drive as drive
from loadtest import langgraph_twin as twin
from loadtest.langgraph_run import LangGraphFailed, langgraph_outcome, langgraph_run
from loadtest.reference.pipeline import Passage, Search
from loadtest.reference.script import load_script
from loadtest.reference.workload import ClaimCalls, ReferenceRequest, load_workload
from loadtest.samples import Sample

STEP_S = 0.01
EVEN = Timing(base_s=STEP_S, running_s=0.0, prefill_s=0.0)  # a token takes a step, whatever else runs

Asking = Callable[[twin.Services], drive.Ask]


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes when nothing else is left to do, and then at once."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now_s


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "a task waits for something outside of the loop, such as a thread"
        self._loop.now_s += timeout
        return super().select(0)


class FixedSearch(Search):
    """Takes as long for a query as it has letters, in hundredths of a second."""

    async def search(self, query: str) -> Passage:
        await asyncio.sleep(search_s(query))
        return Passage("found")


def search_s(query: str) -> float:
    return len(query) / 100


def in_virtual_time(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    rng, rows = random.Random(3), []
    for n, claims in enumerate([1, 4, 9]):
        said = [f"claim {n}.{k} says {'very ' * rng.randint(1, 9)}much" for k in range(claims)]
        recorded = [{"claim": text, "label": rng.random() < 0.5} for text in said]
        response = ". ".join(f"It is known that {text}" for text in said) + "."
        rows.append(
            {"id": f"row-{n}", "prompt": f"what is {n}?", "response": response, "claims": recorded, "label": True}
        )
    path = tmp_path / "recording.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def services(recording: Path, timing: Timing | None, search: Search) -> twin.Services:
    script = load_script(recording)
    return twin.Services(twin.Models([ScriptedEngine(script, timing=timing) for _ in range(4)]), search)


def alone(recording: Path, asking: Asking, row: ReferenceRequest) -> Sample:
    """One request on an idle system, in virtual time."""

    async def main() -> Sample:
        ask = asking(services(recording, EVEN, FixedSearch()))
        (sample,) = await drive.offer(ask, [row], rate=1.0, count=1, seed=1)
        return sample

    sample: Sample = in_virtual_time(main())
    assert not sample.error
    return sample


def searches_s(recording: Path, claim: ClaimCalls) -> float:
    """How long the longer of a claim's searches takes."""
    call = twin.reference.queries(twin.reference.Claim(claim.text)).call()
    written = load_script(recording)("reference.queries", call)
    assert written is not None
    return max(search_s(query) for query in "".join(written).splitlines())


def test_each_claim_is_judged_once_with_its_label_under_load(recording: Path) -> None:
    async def main() -> list[Sample]:
        ask = drive.by_graph(services(recording, Timing(), Search()))
        return await drive.offer(ask, load_workload(recording), rate=20.0, count=25, seed=2)

    samples = in_virtual_time(main())
    assert {sample.row for sample in samples} == {"row-0", "row-1", "row-2"}
    for sample in samples:
        assert (sample.error, sample.wrong, sample.missing, sample.repeated) == ("", 0, 0, 0)
        assert 0 < sample.ttft_s < sample.first_verdict_s <= sample.last_verdict_s == sample.done_s


def test_the_report_keeps_to_the_order_of_the_answer(recording: Path) -> None:
    row = load_workload(recording)[2]

    async def main() -> Any:
        graph = twin.request_graph()
        return await graph.ainvoke(twin.Request(prompt=row.prompt), context=services(recording, EVEN, FixedSearch()))

    assert in_virtual_time(main()) == {"labels": [claim.label for claim in row.claims]}


def test_claims_run_side_by_side_and_wait_for_none_but_their_own_stages(recording: Path) -> None:
    row = load_workload(recording)[1]
    assert len(row.claims) == 4, "one for each engine, so that no call waits for another one's"
    own_s = [(claim.queries * STEP_S, searches_s(recording, claim), claim.verdict * STEP_S) for claim in row.claims]
    before_s = (row.tokens + sum(claim.line for claim in row.claims)) * STEP_S
    critical_s = before_s + max(map(sum, own_s))
    barriers_s = before_s + sum(map(max, zip(*own_s, strict=True)))
    assert barriers_s > critical_s + 5 * STEP_S, "the longest stages are all of one claim: this row tells nothing"

    sample = alone(recording, drive.by_graph, row)
    assert sample.done_s == pytest.approx(critical_s, abs=STEP_S / 10)
    assert sample.first_verdict_s == pytest.approx(before_s + min(map(sum, own_s)), abs=STEP_S / 10)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_graph_takes_no_more_time_than_its_nodes_alone(recording: Path, place: int) -> None:
    row = load_workload(recording)[place]
    with_graph, without = alone(recording, drive.by_graph, row), alone(recording, drive.bare, row)
    assert with_graph.done_s == pytest.approx(without.done_s, abs=1e-6)
    assert with_graph.first_verdict_s == pytest.approx(without.first_verdict_s, abs=1e-6)


def test_a_request_that_fails_is_counted_and_disturbs_no_other(recording: Path) -> None:
    known = load_workload(recording)[0]
    unknown = ReferenceRequest("unknown", "what was never recorded?", 30, known.response, known.sentences)

    async def main() -> list[Sample]:
        ask = drive.by_graph(services(recording, EVEN, FixedSearch()))
        return await drive.offer(ask, [known, unknown], rate=5.0, count=12, seed=1)

    samples = in_virtual_time(main())
    failed = [sample for sample in samples if sample.row == "unknown"]
    assert 0 < len(failed) < len(samples)
    assert all("CallRejected" in sample.error and sample.missing == 1 for sample in failed)
    assert not any(sample.error or sample.missing for sample in samples if sample.row != "unknown")


def test_what_is_heard_is_checked(recording: Path) -> None:
    row = load_workload(recording)[1]
    sample = Sample(row.id, 0.0)
    told = [twin.Judged(place=n, claim=claim.text, label=claim.label) for n, claim in enumerate(row.claims)]
    told[1]["label"] = not told[1]["label"]

    async def main() -> None:
        heard = drive.Heard(row, sample, due=0.0)
        heard.verdicts([*told[:2], told[0]])
        heard.report([each["label"] for each in told])
        heard.settle()

    in_virtual_time(main())
    assert (sample.wrong, sample.repeated, sample.missing) == (1, 1, 2)
    assert "other labels" in sample.error


def test_nothing_is_traced_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ["true", "false"]:
        for name in drive.UNTRACED:
            monkeypatch.setenv(name, value if value == "true" else drive.UNTRACED[name])
        langsmith_utils.get_env_var.cache_clear()
        assert bool(langsmith_utils.tracing_is_enabled()) == (value == "true")
    langsmith_utils.get_env_var.cache_clear()


def test_a_process_of_its_own_brings_its_samples_and_its_cpu_time(recording: Path) -> None:
    recording.write_text(recording.read_text().splitlines()[0])
    outcome = langgraph_outcome(20.0, 3, 1, recording)
    assert [sample.row for sample in outcome.samples] == ["row-0"] * 3
    assert not any(sample.error or sample.wrong or sample.missing for sample in outcome.samples)
    assert 0 < outcome.cpu_s < 5
    assert outcome.cpu_ms_per_request == pytest.approx(1000 * outcome.cpu_s / 3, abs=0.1)


def test_a_process_that_brings_nothing_says_why(tmp_path: Path) -> None:
    # What it wrote is in a box, whose lines break according to how long the path is.
    with pytest.raises(LangGraphFailed, match=r"(?s)status 2.*does\W+not\W+exist.*--json FILE"):
        langgraph_run(1.0, 1, 1, tmp_path / "missing.jsonl")
