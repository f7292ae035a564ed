"""A worker does not start on an engine that lacks what its stages need."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alto_streams.agents.lm.needs import check_needs, examples_of, needs_of, until_checked
from alto_streams.agents.lm.warmup import warm_up
from alto_streams.define.parsers import Lines
from alto_streams.define.pipeline import Pipeline, Prompt, Record
from alto_streams.errors import ConfigError, EngineUnavailable, PipelineError
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import Capabilities
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.pipelines.factcheck import pipeline as factcheck
from alto_streams.worker.app import App, quiet_loggers
from tests.unit.engine_servers import FakeVllm, serving

JUDGED = [(factcheck, stage) for stage in factcheck.models()["judge"]]


class Question(Record):
    text: str


class Answer(Record):
    text: str


def asking(prompt: dict[str, Any], **options: Any) -> Pipeline:
    made = Pipeline("asking", request=Question)

    @made.generate(model="chat", **options)
    def answer(question: Question) -> Prompt[Answer]:
        return Prompt([], question.text, Lines(Answer), max_tokens=9, **prompt)

    made.examples(Question("x"))
    return made


@pytest.mark.parametrize(
    ("prompt", "options", "needs"),
    [
        ({}, {}, ["continues"]),
        ({}, {"broken": "redo"}, []),
        ({"json_schema": {"type": "object"}}, {"broken": "redo"}, ["json_schema"]),
        ({"regex": "[ab]"}, {}, ["regex", "continues"]),
        ({"grammar": 'root ::= "x"', "logprobs": 2}, {"broken": "redo"}, []),  # where the engine can
        ({"choices": ["a"]}, {"needs": ["logprobs", "choices"]}, ["choices", "logprobs", "continues"]),
    ],
)
def test_needs_are_known_from_the_stage_and_its_example(
    prompt: dict[str, Any], options: dict[str, Any], needs: list[str]
) -> None:
    ((made, stage, example),) = examples_of([(asking(prompt, **options), "answer")])
    assert needs_of(made, stage, example) == needs


@pytest.mark.parametrize("wrong", [{"needs": ["tokens"]}, {"truncate": "middle"}])
def test_a_wrong_word_is_refused_where_it_stands(wrong: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match=r"'asking', stage 'answer': (needs|truncate).*expected"):
        asking({}, **wrong)


class Able(ScriptedEngine):
    """An engine that can do what it is told that it can."""

    def __init__(self, **able: bool) -> None:
        super().__init__(lambda *_: "x", name="engine x")
        self.able, self.away = able, 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(1, 1000, **self.able)

    async def ready(self) -> None:
        if self.away:
            self.away -= 1
            raise EngineUnavailable("away", self.name)


def test_what_is_lacking_is_named_with_its_remedies() -> None:
    check_needs(Able(continues=True), "judge", examples_of(JUDGED))
    with pytest.raises(ConfigError) as raised:
        check_needs(Able(), "judge", examples_of(JUDGED))
    said = str(raised.value)
    for words in (
        "engine x lacks what the stages of model judge need: factcheck.claims needs continues; ",
        "ALTO_REDO=factcheck.claims,factcheck.queries,factcheck.verdict",
        "ALTO_MODELS",
        "engines check judge",
    ):
        assert words in said
    schema = asking({"json_schema": {}}, needs=["logprobs"])
    with pytest.raises(
        ConfigError, match=r"asking.answer needs json_schema, logprobs\. Remedy: name another"
    ) as raised:
        check_needs(Able(continues=True), "chat", examples_of([(schema, "answer")]))
    assert "REDO" not in str(raised.value)


def test_a_refusal_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    quiet_loggers()
    for error in (ConfigError("it lacks grammar"), KeyError("x")):
        try:
            raise error
        except Exception:
            App.logger.exception("Crashed reason=%r", error)
    refused, crashed = caplog.records
    assert (refused.getMessage(), refused.exc_info) == ("it lacks grammar", None)
    assert crashed.exc_info


async def test_a_server_of_the_plain_dialect_is_refused_before_it_is_called() -> None:
    fake = FakeVllm(owner="somebody")
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        with pytest.raises(ConfigError, match=rf"{address}.*factcheck\.verdict needs continues"):
            await warm_up(engine, "judge", examples_of(JUDGED))
        await engine.close()
    assert not fake.bodies


async def test_an_engine_that_comes_later_is_checked_then() -> None:
    engine = Able()
    engine.away = 2
    async with asyncio.timeout(60):
        with pytest.raises(ConfigError, match=r"factcheck\.claims needs continues"):
            await until_checked(engine, "judge", examples_of(JUDGED))
    assert engine.away == 0
    await until_checked(Able(continues=True), "judge", examples_of(JUDGED))
