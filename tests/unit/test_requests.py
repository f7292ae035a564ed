"""Requests are let in as they are; those of a pipeline that sheds, only as many as meet their deadlines."""

from __future__ import annotations

import time
from uuid import UUID

import msgspec

from alto_streams.agents.home.admitting import RequestAgent
from alto_streams.log.sender import Out
from alto_streams.pipelines.factcheck import pipeline
from alto_streams.scheduler.admission import CROWDED, LEAST, Admission
from alto_streams.wire.records import Cancel, Context, EventKind, Raw, Request, Status, encode
from alto_streams.wire.request_ids import new_request_id
from alto_streams.worker.pump import Polled
from tests.unit.homes import Home, events

ROOT = f"chunks.factcheck.{pipeline.root}"
HURRIED = Context(deadline_ms=5_000, shed=True)
HORIZON_MS = 60_000


class Door:
    """Lets requests in, and keeps what it sends."""

    def __init__(self, admission: Admission) -> None:
        self.outs: list[Out] = []
        self._agent = RequestAgent(pipeline, self._send_all, admission, HORIZON_MS)

    async def _send_all(self, outs: list[Out]) -> None:
        self.outs += outs

    async def pass_one(self, request: Request, at_ms: int) -> list[str]:
        """Returns the topics that a request goes to which was appended at this time."""
        await self._agent.handle(0, [Polled("requests.factcheck", 0, 0, at_ms, encode(request), request.id)])
        return [out.topic for out in self.outs]

    async def pass_(self, *contexts: Context) -> list[Request]:
        requests = [Request(new_request_id(), "factcheck", Raw(b"{}"), context) for context in contexts]
        polled = [Polled("requests.factcheck", 0, n, 1_000, encode(each), each.id) for n, each in enumerate(requests)]
        await self._agent.handle(0, polled)
        return requests

    def refused(self) -> list[Cancel]:
        values = [out.value or b"" for out in self.outs]
        return [msgspec.json.decode(value, type=Cancel) for value in values if b'"cancel"' in value]


async def test_one_too_many_is_shed_and_goes_to_no_stage() -> None:
    admission = Admission(first=LEAST)
    door = Door(admission)
    *_, last = await door.pass_(*[HURRIED] * 5)
    assert door.refused() == [Cancel(last.id, "", Status.SHED, CROWDED)]
    assert [out.topic for out in door.outs if out.key == last.id.encode()] == [ROOT]
    assert admission.refused == 1


async def test_only_requests_that_may_be_shed_and_have_a_deadline_are_counted() -> None:
    admission = Admission(first=LEAST)
    door = Door(admission)
    await door.pass_(*[Context(), Context(deadline_ms=5_000), Context(shed=True)] * 5)
    assert door.refused() == []
    assert len(admission) == 0


async def test_what_nobody_has_read_within_the_horizon_goes_to_the_root_alone() -> None:
    """It is not to be begun any more, and not to be shed either: its root says how it ended."""
    created_ms = int(time.time() * 1000) - HORIZON_MS - 1_000
    old = Request(str(UUID(int=created_ms << 80 | 7 << 76 | 2 << 62)), "factcheck", Raw(b"{}"), HURRIED)
    assert await Door(Admission(first=LEAST)).pass_one(old, created_ms) == [ROOT]
    assert await Door(Admission(first=LEAST)).pass_one(old, created_ms + HORIZON_MS + 1) == []  # a repetition


def test_the_root_ends_a_request_that_was_not_let_in_and_lets_it_stay_ended() -> None:
    home = Home(pipeline, pipeline.root)
    (done,) = events(home.tell(Cancel("request-1", "", Status.SHED, CROWDED)))
    assert done.kind is EventKind.DONE
    body = msgspec.json.decode(done.body)
    assert (body["status"], body["cause"]) == ("shed", CROWDED)
    assert home.tell(Request("request-1", "factcheck", Raw(b'{"question": "Why?"}'), HURRIED)) == []
