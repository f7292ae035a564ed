"""Sending recorded requests again: at their times however the answers come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from alto_streams.cli.replaying import Replaying
from alto_streams.client import Client, ClientEvent
from alto_streams.errors import PartDown, ProblemError
from alto_streams.recordings.format import Recorded
from alto_streams.recordings.spacing import Planned
from alto_streams.wire.records import EventKind, Mode, Raw


class Answers(Client):
    """Answers each request with its prompt once `released`; what contains `down` or `bad` fails."""

    def __init__(self) -> None:
        super().__init__(["http://127.0.0.1:1"])
        self.released = asyncio.Event()
        self.submitted: list[tuple[str, Any, Mode, float | str | None]] = []
        self.cancelled: list[str] = []
        self.arrived = asyncio.Semaphore(0)

    async def submit(
        self,
        pipeline: str,
        input: Any,
        mode: Mode = Mode.STREAM,
        deadline: float | str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        if pipeline != "pages":
            raise ProblemError(422, {"field": "pipeline", "detail": "no pipeline of that name"})
        if "bad" in input["prompt"]:
            raise ProblemError(422, {"field": "input.prompt", "detail": "is bad"})
        if "down" in input["prompt"]:
            raise PartDown("gateway", "http://127.0.0.1:1", "no connection", "start it")
        self.submitted.append((pipeline, input, mode, deadline))
        self.arrived.release()
        return str(input["prompt"])

    async def events(self, request: str, last_event_id: int | None = None) -> AsyncIterator[ClientEvent]:
        yield ClientEvent(1, EventKind.CHUNK, "lines", "", 0, 0, {"text": "It is"})
        if "soon" not in request:
            await self.released.wait()
        yield ClientEvent(2, EventKind.ITEM, "found", "0/0", 0, 0, {"value": {"text": request}})
        yield ClientEvent(3, EventKind.DONE, "page", "", 0, 0, {"status": "ok", "result": {"lines": [request]}})

    async def cancel(self, request: str, pipeline: str | None = None, stage: str = "", path: str = "") -> None:
        self.cancelled.append(request)


def request(prompt: str, **changes: Any) -> Recorded:
    return Recorded(prompt, 0, "pages", Raw(msgspec.json.encode({"prompt": prompt})), **changes)


async def test_requests_are_sent_however_the_answers_come() -> None:
    async with Answers() as client:
        replaying = Replaying(client, result_stage="found")
        planned = [Planned(number / 100, request(f"n {number}", within_s=9.5)) for number in range(5)]
        running = asyncio.create_task(replaying.run(planned))
        async with asyncio.timeout(60):
            for _ in planned:
                await client.arrived.acquire()
        assert replaying.ran == {}, "none has been answered"
        client.released.set()
        await asyncio.wait_for(running, 60)
    assert client.submitted[3] == ("pages", {"prompt": "n 3"}, Mode.STREAM, 9.5)
    for at_s, each in planned:
        ran = replaying.ran[each.id]
        assert (ran.status, ran.at_s, bytes(ran.result)) == ("ok", at_s, b'{"lines":["%s"]}' % each.id.encode())
        assert 0 <= ran.late_s <= (ran.ttft_s or 0) <= (ran.first_item_s or 0) <= (ran.done_s or 0)


async def test_latencies_count_from_the_scheduled_arrival() -> None:
    async with Answers() as client:
        replaying = Replaying(client)
        await replaying.run([Planned(-2.0, request("soon", mode=Mode.BARRIER, within_s=3.0))])
        ran = replaying.ran["soon"]
        assert 2.0 <= ran.late_s <= (ran.ttft_s or 0) <= (ran.done_s or 0)
        assert ran.first_item_s is None, "no stage was named"
        without = Replaying(client, with_deadlines=False)
        await without.run([Planned(0.0, request("soon", within_s=3.0))])
    assert client.submitted == [
        ("pages", {"prompt": "soon"}, Mode.BARRIER, 3.0),
        ("pages", {"prompt": "soon"}, Mode.STREAM, None),
    ]


async def test_beyond_the_bound_requests_are_late_and_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alto_streams.cli.replaying.MOST_UNDER_WAY", 2)
    async with Answers() as client:
        replaying = Replaying(client)
        running = asyncio.create_task(replaying.run([Planned(0.0, request(f"n {number}")) for number in range(3)]))
        async with asyncio.timeout(60):
            for _ in range(2):
                await client.arrived.acquire()
        asyncio.get_running_loop().call_later(1.0, client.released.set)
        await asyncio.wait_for(running, 60)
    assert [each.late_s >= 0.99 for each in replaying.ran.values()] == [False, False, True]


async def test_an_interrupted_replay_keeps_what_has_ended() -> None:
    async with Answers() as client:
        ended = asyncio.Event()
        replaying = Replaying(client)
        planned = [Planned(0.0, request("soon")), Planned(0.0, request("later")), Planned(9e9, request("never"))]
        running = asyncio.create_task(replaying.run(planned, ended.set))
        async with asyncio.timeout(60):
            for _ in range(2):
                await client.arrived.acquire()
            await ended.wait()

        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert ([*replaying.ran], client.cancelled) == (["soon"], ["later"])


async def test_a_request_that_fails_does_not_end_the_replay_but_a_wrong_address_does() -> None:
    async with Answers() as client:
        replaying = Replaying(client)
        await replaying.run([Planned(at_s / 20, request(text)) for at_s, text in enumerate(("bad", "soon", "down"))])
        causes = {each.id: (each.status, each.cause) for each in replaying.ran.values()}
        assert causes["bad"] == ("failed", "input.prompt: is bad")
        assert causes["soon"] == ("ok", None)
        assert causes["down"][0] == "failed"
        for text, pipeline, refusal in (("down", None, PartDown), ("soon", "nope", ProblemError)):
            with pytest.raises(ExceptionGroup) as refused:
                await Replaying(client, pipeline).run([Planned(0.0, request(text))])
            assert isinstance(refused.value.exceptions[0], refusal)
