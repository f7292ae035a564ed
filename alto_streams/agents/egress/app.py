"""What publishes the client events of one pipeline to Redis."""

from __future__ import annotations

import logging
from typing import Any

import redis.asyncio
from prometheus_client import CollectorRegistry

from alto_streams.agents.egress.agent import Egress
from alto_streams.agents.egress.publisher import PublishedEvent
from alto_streams.agents.egress.reread import ResultsReplay
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import Poison
from alto_streams.log.letters import LetterCounts, letter_of
from alto_streams.retry import insist
from alto_streams.settings import Settings
from alto_streams.tables.decisions import Cause
from alto_streams.wire import topic_names
from alto_streams.wire.records import Event, decoder
from alto_streams.worker.app import App, new_app
from alto_streams.worker.pump import Polled, pumped
from alto_streams.worker.readiness import serve_readiness

log = logging.getLogger(__name__)

CHECK_REDIS_EVERY_S = 1.0


def egress_app(config: Settings, pipeline: Pipeline) -> App:
    """What publishes the client events of one pipeline to Redis."""
    registry = CollectorRegistry()
    app = new_app(topic_names.egress_app(pipeline.name), config, registry=registry)
    client = redis.asyncio.Redis.from_url(config.redis, socket_timeout=5.0, socket_connect_timeout=2.0)
    counts = LetterCounts(registry)
    egress = Egress(client, pipeline.name, ResultsReplay(config, pipeline.name), config)
    decode = decoder(Event)
    done = egress.statistics
    app.watch.consider(moves=lambda: done.added + done.duplicates + done.read_again, excuse=lambda: egress.waits_for)

    async def publish(partition: int, polled: list[Polled]) -> None:
        records, letters = [], []
        for each in polled:
            try:
                records.append(PublishedEvent(partition, each.offset, decode(each.value)))
            except Poison as error:  # no event: nothing of it can be shown to anybody
                log.warning("dead letter from %s-%d@%d: %s", each.topic, partition, each.offset, error)
                letters.append(letter_of(pipeline.name, "egress", each.topic, each, str(error)))
        if letters:
            await insist(lambda: app.sender.send_all(letters))
            for _ in letters:
                counts.count(f"{pipeline.name}.egress", Cause.UNREADABLE)
        if records:
            await egress.publish(records)

    @app.timer(interval=CHECK_REDIS_EVERY_S)  # type: ignore[untyped-decorator]
    async def check() -> None:
        await egress.check({tp.partition: app.consumer.committed_offset(tp) for tp in app.consumer.sources()})

    async def close(*_: Any, **__: Any) -> None:
        await client.aclose()

    app.on_before_shutdown.connect(close)
    pumped(app, topic_names.results_topic(pipeline.name), publish)
    serve_readiness(app)
    return app
