"""The story of a request, told again from the log alone, is what happened: whatever was killed, lost or said twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
import pytest

from alto_streams.agents.lm.run import QUIET_S
from alto_streams.cli import story_view
from alto_streams.errors import CallRejected
from alto_streams.history.retelling import Step, end_of, retell
from alto_streams.history.story import Story, in_order
from alto_streams.models.protocol import Piece
from alto_streams.recordings.format import Became
from alto_streams.tables.calls import Limits
from alto_streams.tables.decisions import Cause, Did
from alto_streams.tables.rows import Send
from alto_streams.tables.turns import At
from alto_streams.wire.records import EventKind, Status
from alto_streams.wire.topic_names import home_topic, results_topic
from tests.simulation import play, workers, world
from tests.simulation.engine import SimulatedEngine
from tests.simulation.faults import NONE
from tests.simulation.script import Script
from tests.simulation.world import World

SEEDS = 6


def steps_of(told: World, request: str) -> list[Step]:
    """What each home decided about a request, from its records in the log."""
    limits = Limits(told.max_attempts, told.silence_ms)
    steps: list[Step] = []
    for stage in told.pipeline.stages:
        topic, partition = told.log.place_of(home_topic(told.pipeline.name, stage), request.encode(), None)
        own = [
            (At(topic, partition, each.offset, each.at_ms), each.value or b"")
            for each in told.log.read((topic, partition), 0, 1_000_000)
            if each.key == request.encode()
        ]
        steps += retell(told.pipeline, stage, limits, told.horizon_ms, request, own)
    return in_order(steps)


def done_of(told: World, request: str) -> dict[str, Any]:
    """What the client heard at last."""
    ends = []
    for each in told.log.all_of(results_topic(told.pipeline.name)):
        event = msgspec.json.decode(each.value or b"")
        if event["request"] == request and event["kind"] == EventKind.DONE:
            ends.append(event["body"])
    body: dict[str, Any] = ends[0]
    return body


@pytest.mark.parametrize("kind", [name for name, each in play.KINDS.items() if each.faults.budget])
def test_what_is_told_again_is_what_was_told(kind: str) -> None:
    for seed in range(SEEDS):
        told = play.play(kind, seed)
        in_log = {(topic, each.value) for topic in told.log.topics() for each in told.log.all_of(topic)}
        for request in told.scripts:
            steps = steps_of(told, request)
            assert not [step for step in steps if step.refused]
            ended, done = end_of(steps), done_of(told, request)
            assert ended is not None
            assert (ended.decision.status, ended.decision.why) == (done["status"], done.get("cause", ""))
            for step in steps:
                for each in step.asked:
                    if isinstance(each, Send) and each.call is None and not each.topic.startswith("control."):
                        assert (each.topic, bytes(each.record)) in in_log, f"seed {seed}: {step.stage}, {step.at}"


class Rigged(SimulatedEngine):
    """An engine whose calls of one stage end badly."""

    @staticmethod
    async def breaks(told: World) -> None:
        """What happens behind each piece of a verdict."""

    async def generate(self, call: Any, **options: Any) -> AsyncIterator[Piece]:
        pieces = super().generate(call, **options)
        async with aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                yield piece
                if options["prompt_class"].endswith(".verdict"):
                    await type(self).breaks(self._world)


async def refuse(_: World) -> None:
    raise CallRejected("HTTP 400: the prompt is too long")


async def kill(told: World) -> None:
    """Once a home has accepted something of a run, kill its worker: a worker that writes no line says so after 5 s."""
    await asyncio.sleep(2 * QUIET_S)
    living = [each for each in told.lm_workers if each.model == "judge" and not each.loop.dead]
    heard = any(
        b'"type":"chunk"' in (each.value or b"") for each in told.log.all_of(home_topic("factcheck", "verdict"))
    )
    if heard and not told.struck["kill"]:
        told.struck["kill"] += 1
        for worker in living:
            told.scheduler.soon(None, partial(told._chaos.kill, worker))


async def hang(_: World) -> None:
    await asyncio.sleep(3_600)


def lost(patch: pytest.MonkeyPatch, breaks: Callable[[World], Any]) -> World:
    """A request that loses its verdicts, each by its first attempt."""
    made = (World(seed, NONE, requests=1, malformed=0.0) for seed in range(100))
    told = next(each for each in made if _has_verdicts_and_evidence(each))
    told.max_attempts, told.silence_ms = 1, 60_000
    patch.setattr(Rigged, "breaks", staticmethod(breaks))
    patch.setattr(workers, "SimulatedEngine", Rigged)
    told.run()
    return told


def _has_verdicts_and_evidence(told: World) -> bool:
    (script,) = told.scripts.values()
    asked = [query for (stage, _), text in script.outputs.items() if stage == "queries" for query in text.splitlines()]
    return bool(script.verdicts and asked) and all(sum(query.encode()) % 5 != 4 for query in asked)


def story(told: World) -> Story:
    """As the command reads it."""
    (request,) = told.scripts
    done = done_of(told, request)
    became = Became(Status(done["status"]), "", 1.0)
    return Story(request, told.pipeline, told.started_ms, became, steps_of(told, request))


def causes(found: Story, did: Did) -> set[Cause]:
    """Why the verdicts that were lost were lost."""
    decided = [each for step in found.steps if step.stage == "verdict" for each in step.decided]
    return {each.cause for each in decided if each.did is did and each.cause is not None}


@pytest.mark.parametrize(
    ("breaks", "cause", "record"),
    [
        (kill, Cause.WORKER_LOST, "of attempt 1"),
        (refuse, Cause.REFUSED, "rejected (HTTP 400: the prompt is too long)"),
        (hang, Cause.SILENCE, "silence in attempt 1"),
    ],
)
def test_a_lost_verdict_is_explained(
    breaks: Callable[[World], Any], cause: Cause, record: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = story(lost(monkeypatch, breaks))
    assert causes(found, Did.CLOSED) == {cause}
    shown = "\n".join(story_view.told(found))
    assert f"closed failed, cause {cause}" in shown
    assert record in shown
    assert f"alto-streams story {found.request} --stage verdict --path" in shown


def test_a_stage_that_raised_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, said = world.pipeline.stages["verdict"], "with words of a user"

    def verdict(**_: Any) -> Any:
        raise LookupError(said)

    monkeypatch.setattr(stage, "function", verdict)
    found = story(lost(monkeypatch, hang))
    assert causes(found, Did.CLOSED) == {Cause.RAISED}
    shown = "\n".join(story_view.told(found))
    assert "closed failed, cause raised (verdict raised LookupError" in shown
    assert f'File "{__file__}", line ' in shown
    assert "words of a user" not in shown


def test_an_output_that_does_not_parse_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Script.__init__

    def malformed(self: Script, *args: Any, **rest: Any) -> None:
        made(self, *args, **rest)
        self.outputs = _Malformed(self.outputs)

    monkeypatch.setattr(Script, "__init__", malformed)
    found = story(lost(monkeypatch, _nothing))
    assert causes(found, Did.LETTER) == {Cause.PARSE}
    assert causes(found, Did.CLOSED) == set()
    assert "a dead letter, cause parse" in "\n".join(story_view.told(found))


class _Malformed(dict[tuple[str, str], str]):
    """Outputs of a judge that says no verdict."""

    def __setitem__(self, key: tuple[str, str], text: str) -> None:
        super().__setitem__(key, f"!{text}" if key[0] == "verdict" else text)


async def _nothing(_: World) -> None:
    """It goes on."""


class TestStepByStep:
    def steps(self, patch: pytest.MonkeyPatch, *, text: bool = False) -> tuple[Story, list[dict[str, Any]], str]:
        found = story(lost(patch, kill))
        path = next(step.decided[0].path for step in found.steps if step.stage == "verdict" and step.decided)
        steps = story_view.steps_of(found, "verdict", path)
        fields = [story_view.fields(found, step, text=text) for step in steps]
        return found, fields, "\n".join(story_view.told_steps(found, "verdict", path, fields))

    def test_each_record_is_told_with_its_ruling_and_what_followed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, fields, shown = self.steps(monkeypatch)
        decided = [each["did"] for step in fields for each in step["decided"]]
        assert decided.index("opened") < decided.index("followed") < decided.index("closed")
        assert "all inputs are there: attempt 1 begins" in shown
        assert "dispatched to work.factcheck.verdict" in shown
        assert all(f"{step['topic']}-{step['partition']}@{step['offset']}" in shown for step in fields)

    def test_no_text_is_shown_unless_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found, _, shown = self.steps(monkeypatch)
        texts = _claims(found)
        assert texts
        assert not [each for each in texts if each in shown]
        with monkeypatch.context() as patch:
            with_text = self.steps(patch, text=True)[2]
        assert [each for each in texts if each in with_text]

    def test_json_carries_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found, fields, _ = self.steps(monkeypatch)
        (call, *_) = story_view.summary(found)["troubled"]
        assert (call["stage"], call["closed"]["cause"], call["attempts"]) == ("verdict", "worker_lost", 1)
        assert msgspec.json.decode(msgspec.json.encode(fields)) == fields


def _claims(found: Story) -> list[str]:
    return [
        msgspec.json.decode(child.value)["claim"]
        for step in found.steps
        if step.stage == "verdict" and (children := getattr(step.record, "children", None))
        for child in children
        if step.record.stage == "claims"  # type: ignore[union-attr]
    ]


def test_the_redoing_world_has_retractions_to_tell() -> None:
    seen = {d.did for seed in range(8) for r, w in _played("redo", seed) for s in steps_of(w, r) for d in s.decided}
    assert {Did.RETRACTED, Did.RETRIED} <= seen


def _played(kind: str, seed: int) -> list[tuple[str, World]]:
    told = play.play(kind, seed)
    return [(request, told) for request in told.scripts]
