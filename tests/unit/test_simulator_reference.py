"""The simulator on the reference workload: it agrees with the model of the limit, and delivers what was recorded."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from alto_streams.pipelines import factcheck
from alto_streams.simulator import SimulatedOutcome, SimulatedRequest, SimulatedSystem, simulate
from alto_streams.wire.records import Mode
from loadtest.console import RECORDING
from loadtest.reference import pipeline as reference
from loadtest.reference.workload import WARM_UP, ReferenceRequest, arrivals, load_workload
from tests.unit import reference_limit


@pytest.fixture(scope="module")
def rows() -> Iterator[list[ReferenceRequest]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALTO_REFERENCE_RECORDING", str(RECORDING))
        yield load_workload(RECORDING)


def simulated(
    rows: list[ReferenceRequest], rate: float, count: int, mode: Mode
) -> list[tuple[ReferenceRequest, SimulatedOutcome]]:
    sent = list(arrivals(rows, rate, count, 1))
    requests = [
        SimulatedRequest(n, at_s, json.dumps({"prompt": row.prompt}).encode(), mode)
        for n, (at_s, row) in enumerate(sent)
    ]
    outcomes = simulate(reference.pipeline, requests, SimulatedSystem(reference.script(RECORDING)))
    return [(sent[each.number][1], each) for each in outcomes]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("rate", [1.0, 4.0])
def test_without_hops_it_agrees_with_the_model_of_the_limit(
    rows: list[ReferenceRequest], mode: Mode, rate: float
) -> None:
    count = 150
    recorded = reference_limit.read(RECORDING)
    found = [outcome for _, outcome in simulated(rows, rate, count, mode)]
    last_at_s = max(each.at_s for each in found)
    counted = [each for each in found if each.at_s > last_at_s * WARM_UP]
    wanted = reference_limit.simulate(str(mode), rate, recorded, count, 1).mean_s
    # Text that a client watches is cut into chunks of up to 30 ms, so that a sentence is known a little later.
    assert statistics.mean(each.done_s for each in counted) == pytest.approx(wanted, rel=0.03)
    if mode is Mode.STREAM:
        early = reference_limit.simulate("verdict_first", rate, recorded, count, 1).mean_s
        assert statistics.mean(each.last_item_s or 0.0 for each in counted) == pytest.approx(early, rel=0.03)


@pytest.mark.parametrize("mode", list(Mode))
def test_every_verdict_is_the_recorded_one(rows: list[ReferenceRequest], mode: Mode) -> None:
    for row, outcome in simulated(rows, 4.0, 100, mode):
        assert json.loads(outcome.result) == {"labels": [claim.label for claim in row.claims]}, row.id


def test_a_search_that_computes_takes_no_time(rows: list[ReferenceRequest]) -> None:
    request = SimulatedRequest(1, 0.0, json.dumps({"prompt": rows[0].prompt}).encode())
    system = SimulatedSystem(factcheck.script(RECORDING))
    one, again = (next(simulate(factcheck.pipeline, [request], system)) for _ in range(2))
    assert one == again
    checked = json.loads(one.result)["claims"]
    assert [each["verdict"] for each in checked] == [claim.label for claim in rows[0].claims]
    assert any(each["evidence"] for each in checked)


def test_other_processes_see_the_same_bytes(rows: list[ReferenceRequest]) -> None:
    there = "from tests.unit.test_simulator_reference import *; print(fingerprint(load_workload(RECORDING)))"
    env = os.environ | {"ALTO_REFERENCE_RECORDING": str(RECORDING), "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", there], env=env, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == fingerprint(rows)


def fingerprint(rows: list[ReferenceRequest]) -> str:
    """Of what a small run gives."""
    return hashlib.sha256(msgspec.json.encode([each for _, each in simulated(rows, 4.0, 20, Mode.STREAM)])).hexdigest()
