"""Lets requests in: each goes, as it is, to the root and to every stage that takes the request itself.

One that would be too many is shed instead. The root hears that as it hears of a cancel, so its end is decided and told
as every other; and if the request comes again and is let in, what the root has heard first stands.

One that is read only after the horizon, since nobody was there to read it, goes to the root alone, which ends it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from alto_streams.agents.home.decision_log import DecisionLog
from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import REQUEST
from alto_streams.errors import Poison
from alto_streams.log.letters import letter_of
from alto_streams.log.sender import Out
from alto_streams.retry import insist
from alto_streams.scheduler.admission import CROWDED, Admission
from alto_streams.tables.decisions import Cause
from alto_streams.wire import topic_names
from alto_streams.wire.records import Cancel, Request, Status, decoder, encode
from alto_streams.wire.request_ids import created_ms
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
        self._name, self._send_all, self._admission = pipeline.name, send_all, admission
        self._horizon_ms = horizon_ms
        self._part = f"{pipeline.name}.{REQUEST}"
        self._decisions = decisions or DecisionLog(self._part)
        self._root = topic_names.home_topic(pipeline.name, pipeline.root)
        takers = [name for name, stage in pipeline.stages.items() if stage.node.takes(REQUEST)]
        self._topics = [topic_names.home_topic(pipeline.name, name) for name in {*takers, pipeline.root}]

    async def handle(self, partition: int, polled: Sequence[Polled]) -> None:
        """Forward a batch; after it the records may be acknowledged."""
        outs = [out for each in polled for out in self._forwarded(each)]
        try:
            await insist(lambda: self._send_all(outs))
        except Poison as error:  # one of them is larger than a record may be where it goes
            if len(polled) == 1:
                letter = self._letter(polled[0], error, Cause.TOO_LARGE)
                return await insist(lambda: self._send_all([letter]))
            for each in polled:
                await self.handle(partition, [each])

    def _forwarded(self, polled: Polled) -> list[Out]:
        try:
            request = _decode(polled.value)
            forgotten_ms = created_ms(request.id) + self._horizon_ms
        except Poison as error:
            return [self._letter(polled, error)]
        due_ms, key = request.context.deadline_ms, request.id.encode()
        if forgotten_ms < polled.at_ms:
            log.warning("%s: a repetition past the horizon is dropped", request.id)
            return []
        if forgotten_ms < time.time() * 1000:
            return [Out(self._root, key, polled.value)]
        if request.context.shed and due_ms is not None and not self._admission.admit(request.id, due_ms, polled.at_ms):
            return [Out(self._root, key, encode(Cancel(request.id, "", Status.SHED, CROWDED)))]
        return [Out(topic, key, polled.value) for topic in self._topics]

    def _letter(self, polled: Polled, error: Poison, cause: Cause = Cause.UNREADABLE) -> Out:
        self._decisions.letter(cause, self._part)
        log.warning("dead letter from %s-%d@%d: %s", polled.topic, polled.partition, polled.offset, error)
        return letter_of(self._name, REQUEST, polled.topic, polled, str(error))
