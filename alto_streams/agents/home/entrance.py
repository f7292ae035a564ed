"""Whom a request is passed on to: the root and every stage that takes the request itself. Pure.

One that would be too many is shed instead. The root hears that as it hears of a cancel, so its end is decided and told
as every other; and if the request comes again and is let in, what the root has heard first stands.

One that is read only after the horizon, since nobody was there to read it, goes to the root alone, which ends it.
"""

from __future__ import annotations

from alto_streams.define.pipeline import Pipeline
from alto_streams.define.topology import REQUEST
from alto_streams.scheduler.admission import CROWDED, Admission
from alto_streams.wire.records import Cancel, Request, Status
from alto_streams.wire.request_ids import created_ms
from alto_streams.wire.topic_names import home_topic

Passed = list[tuple[str, Cancel | None]]
"""Topics of homes, each with what it is told instead of the request, if anything."""


class Entrance:
    """Lets the requests of one pipeline in. `admission` is asked about requests that may be shed."""

    def __init__(self, pipeline: Pipeline, admission: Admission, horizon_ms: float) -> None:
        self._admission, self._horizon_ms = admission, horizon_ms
        self._root = home_topic(pipeline.name, pipeline.root)
        takers = (name for name, stage in pipeline.stages.items() if stage.node.takes(REQUEST) or name == pipeline.root)
        self._topics = [home_topic(pipeline.name, name) for name in takers]

    def passed(self, request: Request, at_ms: int, now_ms: float) -> Passed | None:
        """Where a request goes that was appended then and is read now; None for a repetition past the horizon.

        Raises:
            Poison: its id is none.
        """
        forgotten_ms, due_ms = created_ms(request.id) + self._horizon_ms, request.context.deadline_ms
        if forgotten_ms < at_ms:
            return None
        if forgotten_ms < now_ms:
            return [(self._root, None)]
        if request.context.shed and due_ms is not None and not self._admission.admit(request.id, due_ms, at_ms):
            return [(self._root, Cancel(request.id, "", Status.SHED, CROWDED))]
        return [(topic, None) for topic in self._topics]
