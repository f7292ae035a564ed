"""Every bad body gets a problem that names its field; every good one travels as it was understood."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alto_streams.define.pipeline import Gather, Pipeline, Record
from alto_streams.gateway.interfaces import PipelineInfo
from alto_streams.gateway.problems import Problem
from alto_streams.gateway.submission import Submission, parse_submission
from alto_streams.settings import Settings
from alto_streams.wire.records import Mode
from tests.gateway.harness import PIPELINE, PIPELINES


class Question(Record):
    prompt: str


class Point(Record):
    pass


class Report(Record):
    pass


NOW_MS = 1_900_000_000_000  # 2030-03-17T17:46:40Z
SETTINGS = Settings(_env_file=None, max_prompt_chars=20, horizon_s=600)  # type: ignore[call-arg]


def parse(payload: bytes, header: str | None = None) -> Submission:
    return parse_submission(payload, header, PIPELINES, SETTINGS, NOW_MS)


def body(**changes: Any) -> bytes:
    return json.dumps({"pipeline": PIPELINE, "input": {"prompt": "Why?"}} | changes).encode()


def refusal(payload: bytes, header: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        parse(payload, header)
    return caught.value


@pytest.mark.parametrize(
    ("payload", "status", "kind", "field"),
    [
        (b"", 400, "broken-json", None),
        (b"{", 400, "broken-json", None),
        (b"\xff", 400, "broken-json", None),
        (body() + b" x", 400, "broken-json", None),
        (b"[" * 100_000, 422, "invalid-field", None),
        (b'{"pipeline":"questions","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "broken-json", None),
        (b"[]", 422, "invalid-field", None),
        (b"{}", 422, "invalid-field", "pipeline"),
        (b'{"pipeline": "questions"}', 422, "invalid-field", "input"),
        (body(pipeline="nonsense"), 422, "unknown-pipeline", "pipeline"),
        (body(pipeline=7), 422, "invalid-field", "pipeline"),
        (body(surprise=1), 422, "invalid-field", "surprise"),
        (body(mode="fast"), 422, "invalid-field", "mode"),
        (body(input="Why?"), 422, "invalid-field", "input"),
        (body(input=None), 422, "invalid-field", "input"),
        (body(input={}), 422, "invalid-field", "input.prompt"),
        (body(input={"prompt": 3}), 422, "invalid-field", "input.prompt"),
        (body(input={"prompt": "Why?", "other": 3}), 422, "invalid-field", "input.other"),
        (body(input={"prompt": "Why?", "count": 10}), 422, "invalid-field", "input.count"),
        (body(input={"prompt": ""}), 422, "empty-field", "input.prompt"),
        (body(input={"prompt": " \n\t"}), 422, "empty-field", "input.prompt"),
        (body(input={"prompt": "x" * 21}), 422, "oversized-field", "input.prompt"),
        (b'{"pipeline":"questions","input":{"prompt":"\\ud800"}}', 400, "broken-json", None),
        (body(deadline=0), 422, "deadline-in-the-past", "deadline"),
        (body(deadline=-5.5), 422, "deadline-in-the-past", "deadline"),
        (body(deadline="2030-03-17T17:46:40Z"), 422, "deadline-in-the-past", "deadline"),
        (body(deadline="2030-03-17T17:46:41"), 422, "invalid-field", "deadline"),
        (body(deadline="soon"), 422, "invalid-field", "deadline"),
        (body(deadline=601), 422, "invalid-field", "deadline"),
        (body(deadline=10**300), 422, "invalid-field", "deadline"),
        (body(deadline="9999-12-31T23:59:59Z"), 422, "invalid-field", "deadline"),
        (body(deadline=[]), 422, "invalid-field", "deadline"),
        (body(deadline=True), 422, "invalid-field", "deadline"),
        (body(idempotency_key=""), 422, "invalid-field", "idempotency_key"),
        (body(idempotency_key="x" * 256), 422, "invalid-field", "idempotency_key"),
        (body(idempotency_key="a\nb"), 422, "invalid-field", "idempotency_key"),
    ],
)
def test_a_bad_body_is_refused_by_its_field(payload: bytes, status: int, kind: str, field: str | None) -> None:
    problem = refusal(payload).document
    assert (problem.status, problem.type.rpartition(":")[2], problem.field) == (status, kind, field)
    assert problem.detail


def test_an_unknown_pipeline_is_told_the_known_ones() -> None:
    problem = refusal(body(pipeline="nonsense")).document
    assert problem.known == [PIPELINE]
    assert PIPELINE in problem.detail


def test_two_different_keys_are_refused() -> None:
    assert refusal(body(idempotency_key="a"), header="b").document.field == "idempotency_key"


def test_a_key_may_come_in_either_place() -> None:
    assert parse(body(), header="a").idempotency_key == "a"
    assert parse(body(idempotency_key="a")).idempotency_key == "a"
    assert parse(body(idempotency_key="a"), header="a").idempotency_key == "a"


@pytest.mark.parametrize("deadline", [60, 60.0, "2030-03-17T17:47:40Z", "2030-03-17T18:47:40+01:00"])
def test_a_deadline_is_seconds_or_a_time(deadline: float | str) -> None:
    assert parse(body(deadline=deadline)).context.deadline_ms == NOW_MS + 60_000


def test_every_request_ends_before_it_is_forgotten() -> None:
    due_ms = parse(body()).context.deadline_ms
    assert due_ms is not None
    assert NOW_MS < due_ms < NOW_MS + 600_000


@pytest.mark.parametrize("shed", [True, False])
def test_a_request_may_be_shed_if_its_pipeline_says_so(shed: bool) -> None:
    pipeline = Pipeline(PIPELINE, Question, shed=shed)

    @pipeline.map()
    async def points(question: Question) -> list[Point]:
        return []

    @pipeline.gather
    def report(points: Gather[Point]) -> Report:
        return Report()

    known = {PIPELINE: PipelineInfo.of(pipeline)}
    assert parse_submission(body(), None, known, SETTINGS, NOW_MS).context.shed is shed


def test_what_was_checked_is_what_travels() -> None:
    asked = parse(b'{"input": {"prompt": "no", "prompt" : "yes" },\n "pipeline": "questions", "mode": "barrier"}')
    assert bytes(asked.input) == b'{"prompt":"yes","count":1}'
    assert asked.context.mode is Mode.BARRIER


def test_the_digest_tells_bodies_apart_and_not_their_spelling() -> None:
    assert parse(body()).digest == parse(b'{"input":{"prompt":"Why?"},"pipeline":"questions"}', "key").digest
    others = [body(mode="barrier"), body(deadline=5), body(input={"prompt": "Who?"})]
    assert len({parse(each).digest for each in [body(), *others]}) == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["pipeline", "input", "deadline", "idempotency_key", "mode", "other"])


@given(st.dictionaries(FIELDS, JSON | st.just(PIPELINE) | st.fixed_dictionaries({"prompt": JSON}), max_size=6))
def test_whatever_comes_is_taken_or_refused_with_a_problem(value: dict[str, Any]) -> None:
    try:
        asked = parse(json.dumps(value).encode())
    except Problem as problem:
        assert 400 <= problem.document.status < 500  # noqa: PT017
    else:
        assert asked.pipeline.name == PIPELINE


@given(st.binary(max_size=50))
def test_any_bytes_are_refused_with_a_problem(payload: bytes) -> None:
    assert 400 <= refusal(payload).document.status < 500
