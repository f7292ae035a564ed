"""What a client can end before its time: a request, one item of it, or all that a false claim makes needless."""

from __future__ import annotations

import asyncio
import contextlib
import io
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from alto_streams.cli import run_command
from alto_streams.cli.asking import Asked
from alto_streams.client import Client, ClientEvent
from alto_streams.views.transcript import Transcript
from alto_streams.wire.records import EventKind, Mode
from tests.e2e.systems import COMMAND, RUN_S, System, environment, up, write_rows

# Some seconds of the reference engine's timing, and within the tokens that an answer may have.
SENTENCES = [
    f"Of the {n} rivers of this country number {n} is the longest one of all that there are." for n in range(12)
]
ROW = {
    "id": "rivers",
    "prompt": "Which rivers are there?",
    "response": " ".join(SENTENCES),
    "claims": [{"claim": f"River {n} is the longest.", "label": n != 1} for n in range(12)],
}
ASKED = Asked("factcheck", {"prompt": ROW["prompt"]})


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("cancel")
    engine = f"scripted:{write_rows(folder / 'script.jsonl', [ROW])}?timing=reference"
    with up(folder, {"ALTO_MODELS": f"chat={engine},judge={engine}"}) as running:
        yield running


def command(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = [*COMMAND, *arguments, "--gateway", system.gateway]
    return subprocess.run(
        given, capture_output=True, text=True, timeout=RUN_S, cwd=system.folder, env=environment({}), check=False
    )


def test_asking_stops_at_the_first_false_claim(system: System) -> None:
    done = command(system, "ask", str(ROW["prompt"]), "--stop-at-first-false", "--json")
    assert done.returncode == 0, done.stderr
    transcript = Transcript()
    for line in done.stdout.split("\n")[1:-1]:  # the first has the request's id
        transcript.hear(msgspec.json.decode(line, type=ClientEvent), 0.0)
    assert (transcript.status, transcript.early) == ("ok", True)
    found = {each["claim"]: each for each in transcript.result["claims"]}
    assert found["River 1 is the longest."]["verdict"] is False
    assert {each["status"] for each in found.values()} == {"ok", "cancelled"}
    shown = command(system, "ask", str(ROW["prompt"]), "--stop-at-first-false")
    assert "The request ended early" in shown.stdout


async def test_a_cancelled_claim_is_in_no_report(system: System) -> None:
    """The rest of the request goes on, and ends well. A claim may have been judged before its cancel comes."""
    transcript, path = Transcript(), ""
    async with Client([system.gateway]) as client:
        request = await client.submit(ASKED.pipeline, ASKED.input)
        async for event in client.events(request):
            transcript.hear(event, 0.0)
            is_late = not path or any(item.path.startswith(path) for item in transcript.of("verdict"))
            if event.kind is EventKind.ITEM and event.stage == "claims" and is_late:
                path = event.path
                await client.cancel(request, stage="claims", path=path)
                await client.cancel(request, stage="claims", path=path)  # says nothing new
    assert (transcript.status, transcript.early) == ("ok", False)
    cancelled = transcript.items["claims", path]
    assert (cancelled.status, cancelled.cause) == ("cancelled", "cancelled by the client")
    kept = [claim["claim"] for claim in ROW["claims"] if claim["claim"] != cancelled.value["claim"]]  # type: ignore[index]
    assert [each["claim"] for each in transcript.result["claims"]] == kept
    assert not [item for item in transcript.of("verdict") if item.path.startswith(path)]


async def test_a_request_is_cancelled_by_a_command(system: System) -> None:
    transcript = Transcript()
    async with Client([system.gateway]) as client:
        request = await client.submit(ASKED.pipeline, ASKED.input, Mode.BARRIER)  # which takes longest
        async for event in client.events(request):
            transcript.hear(event, 0.0)
            if event.kind is EventKind.ACCEPTED:  # a process of its own may start after the request's end
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    code = await asyncio.to_thread(run_command, ["cancel", request, "--gateway", system.gateway])
                assert (code, said.getvalue()) == (0, f"cancelling {request}\n")
        assert (transcript.status, transcript.cause) == ("cancelled", "cancelled by the client")
        assert (await client.get(request))["status"] == "cancelled"
    again = command(system, "cancel", request)
    assert again.returncode == 2
    assert "has ended already" in again.stderr
    wrong = command(system, "cancel", request, "claims", "0")
    assert wrong.returncode == 2
