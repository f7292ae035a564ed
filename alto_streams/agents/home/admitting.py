"""Lets requests in: each goes to the homes that `Entrance` names; one that nothing can read is a dead letter."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from alto_streams.agents.home.decision_log import DecisionLog
from alto_streams.agents.home.entrance import Entrance
from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import REQUEST
from alto_streams.errors import Poison
from alto_streams.log.letters import letter_of
from alto_streams.log.sender import Out
from alto_streams.retry import insist
from alto_streams.scheduler.admission import Admission
from alto_streams.tables.decisions import Cause
from alto_streams.wire.records import Request, decoder, encode
from alto_streams.wire.topic_names import dead_letters_topic
from alto_streams.worker.pump import Polled

log = logging.getLogger(__name__)

_decode = decoder(Request)


class RequestAgent:
    """From `requests.<pipeline>` to the homes. It stores nothing: a request that comes twice is told twice.

    `admission` is asked about requests that may be shed; who hears how they end tells it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        send_all: Callable[[list[Out]], Awaitable[object]],
        admission: Admission,
        horizon_ms: int,
        decisions: DecisionLog | None = None,
    ) -> None:
        self._name, self._send_all = pipeline.name, send_all
        self._entrance = Entrance(pipeline, admission, horizon_ms)
        self._part, self._letters = f"{pipeline.name}.{REQUEST}", dead_letters_topic(pipeline.name)
        self._decisions = decisions or DecisionLog(self._part)

    async def handle(self, partition: int, polled: Sequence[Polled]) -> None:
        """Forward a batch; after it the records may be acknowledged."""
        outs = [out for each in polled for out in self._forwarded(each)]
        try:
            await insist(lambda: self._send_all(outs))
            for _ in (out for out in outs if out.topic == self._letters):
                self._decisions.letter(Cause.UNREADABLE, self._part)
        except Poison as error:  # one of them is larger than a record may be where it goes
            if len(polled) == 1:
                letter = self._letter(polled[0], error)
                await insist(lambda: self._send_all([letter]))
                return self._decisions.letter(Cause.TOO_LARGE, self._part)
            for each in polled:
                await self.handle(partition, [each])

    def _forwarded(self, polled: Polled) -> list[Out]:
        try:
            request = _decode(polled.value)
            passed = self._entrance.passed(request, polled.at_ms, time.time() * 1000)
        except Poison as error:
            return [self._letter(polled, error)]
        if passed is None:
            log.warning("%s: a repetition past the horizon is dropped", request.id)
            return []
        key = request.id.encode()
        return [Out(topic, key, polled.value if told is None else encode(told)) for topic, told in passed]

    def _letter(self, polled: Polled, error: Poison) -> Out:
        log.warning("dead letter from %s-%d@%d: %s", polled.topic, polled.partition, polled.offset, error)
        return letter_of(self._name, REQUEST, polled.topic, polled, str(error))
