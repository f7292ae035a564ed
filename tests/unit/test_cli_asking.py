"""Following a request to its end, and what an interruption leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from alto_streams.cli.ask import failure
from alto_streams.cli.asking import Asked, ask
from alto_streams.cli.batch import Batch
from alto_streams.cli.brought import Brought, owned_options
from alto_streams.cli.rows import Row
from alto_streams.client import Client, ClientEvent
from alto_streams.errors import ProblemError
from alto_streams.pipelines.factcheck import pipeline
from alto_streams.views.transcript import Transcript
from alto_streams.wire.records import EventKind, Mode

DONE = ClientEvent(2, EventKind.DONE, "report", "", 0, 0, {"status": "ok", "result": {"claims": []}})
TEXT = ClientEvent(1, EventKind.CHUNK, "answer", "", 0, 0, {"text": "It is"})


def row(name: str, prompt: str) -> Row:
    return Row(name, {"prompt": prompt})


class Recorded(Client):
    """Answers from a recording; prompts that contain `hangs` never end, those with `bad` are refused."""

    def __init__(self) -> None:
        super().__init__(["http://127.0.0.1:1"])
        self.cancelled: list[str] = []
        self.under_way = 0
        self.most = 0
        self.hanging = asyncio.Event()
        self.inputs: list[Any] = []

    async def __aenter__(self) -> Recorded:
        return self

    async def submit(self, pipeline: str, input: Any, *_: Any, **__: Any) -> str:
        if "bad" in input["prompt"]:
            raise ProblemError(422, {"field": "input.prompt", "detail": "is bad"})
        self.inputs.append(input)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return str(input["prompt"])

    async def events(
        self, request: str, last_event_id: int | None = None, *, waiting: bool = False
    ) -> AsyncIterator[ClientEvent]:
        yield TEXT
        await asyncio.sleep(0)
        if "hangs" in request:
            self.hanging.set()
            await asyncio.Event().wait()
        self.under_way -= 1
        yield DONE

    async def cancel(self, request: str, pipeline: str | None = None, stage: str = "", path: str = "") -> None:
        self.cancelled.append(request)


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    def make(client: Client, at_once: int = 8, on_done: Callable[[], None] = lambda: None) -> Batch:
        return Batch(client, "factcheck", pipeline.view, Mode.STREAM, at_once, None, on_done)

    return make


async def test_an_interrupted_request_is_cancelled() -> None:
    async with Recorded() as client:
        asking = asyncio.create_task(ask(client, Asked("factcheck", {"prompt": "hangs"})))
        await asyncio.wait_for(client.hanging.wait(), 60)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert client.cancelled == ["hangs"]


async def test_an_interrupted_batch_keeps_what_is_done_and_cancels_the_rest(batch_of: Callable[..., Batch]) -> None:
    rows = [row("a", "first"), row("b", "hangs"), row("c", "third")]
    async with Recorded() as client:
        ended = asyncio.Semaphore(0)
        batch = batch_of(client, on_done=ended.release)
        running = asyncio.create_task(batch.run(rows))
        await asyncio.wait_for(client.hanging.wait(), 60)
        for _ in ("a", "c"):
            await asyncio.wait_for(ended.acquire(), 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert {key: each.status for key, each in batch.outcomes.items()} == {"a": "ok", "b": "cancelled", "c": "ok"}
        assert batch.outcomes["b"].columns["answer"] == "It is"
        assert client.cancelled == ["hangs"]
        assert [line[:9] for line in batch.lines(rows)] == [b'{"id":"a"', b'{"id":"b"', b'{"id":"c"']


async def test_a_batch_keeps_its_bound_and_goes_on_after_a_refusal(batch_of: Callable[..., Batch]) -> None:
    rows = [row(str(number), "bad" if number == 3 else f"prompt {number}") for number in range(20)]
    async with Recorded() as client:
        batch = batch_of(client, 4)
        await batch.run(rows)
        assert client.most <= 4
        assert sum(each.status == "ok" for each in batch.outcomes.values()) == 19
        assert batch.outcomes["3"].cause == "input.prompt: is bad"


async def test_every_request_of_a_batch_asks_for_the_early_end() -> None:
    async with Recorded() as client:
        (stop,) = [each for each in owned_options([]) if each.option.option == "--stop-at-first-false"]
        more = Brought([(stop, True)]).fields("factcheck")
        batch = Batch(client, "factcheck", pipeline.view, Mode.STREAM, 2, None, lambda: None, more)
        await batch.run([row("a", "first"), row("b", "second")])
        assert client.inputs == [{"prompt": text, "stop_at_first_false": True} for text in ("first", "second")]
        assert Brought().fields("factcheck") == {}


def heard(*events: ClientEvent) -> Transcript:
    transcript = Transcript(request="0198")
    for event in events:
        transcript.hear(event, 0.1)
    return transcript


def raised(path: str, error: str = "KeyError") -> ClientEvent:
    body = {"count": 0, "status": "failed", "cause": f"fetch raised {error}", "raised": error}
    return ClientEvent(1, EventKind.CLOSE, "fetch", path, 0, 0, body)


SEE = "to see more: alto-streams story 0198"


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([DONE], None),
        ([raised("0/1"), DONE], "fetch raised KeyError at 0/1; "),
        ([raised(str(n)) for n in range(5)] + [DONE], "fetch raised KeyError at 0, 1, 2 and 2 more; "),
        ([raised("0"), raised("1", "OSError"), DONE], "fetch raised KeyError at 0; fetch raised OSError at 1; "),
        (
            [ClientEvent(2, EventKind.DONE, "r", "", 0, 0, {"status": "failed", "cause": "r raised X", "raised": "X"})],
            "the request ended failed: r raised X; ",
        ),
    ],
)
def test_ask_says_what_raised_and_how_to_see_more(events: list[ClientEvent], says: str | None) -> None:
    letters = ", or alto-streams dead-letters list --request 0198 for file and line"
    assert failure(heard(*events)) == (says and f"{says}{SEE}{letters}")


def test_ask_says_how_to_see_why_a_request_failed() -> None:
    late = ClientEvent(2, EventKind.DONE, "r", "", 0, 0, {"status": "failed", "cause": "deadline exceeded"})
    assert failure(heard(late)) == f"the request ended failed: deadline exceeded; {SEE}"
