"""The home of one stage's calls, with its rows and where its work items go."""

from __future__ import annotations

import contextlib
import time

from prometheus_client import CollectorRegistry, Gauge

from alto_streams.agents.home.admitting import RequestAgent
from alto_streams.agents.home.agent import StageAgent
from alto_streams.agents.home.decision_log import DecisionLog
from alto_streams.agents.scheduler.dispatching import Dispatch
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import Fenced, Retryable
from alto_streams.log.wanted_topics import topics_of
from alto_streams.scheduler.admission import Admission
from alto_streams.scheduler.dispatch import Lane
from alto_streams.scheduler.placing import InTurn, Placing
from alto_streams.settings import Settings
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.store import RowTable
from alto_streams.wire import topic_names
from alto_streams.wire.records import Status
from alto_streams.wire.request_ids import created_ms
from alto_streams.worker.app import App, new_app
from alto_streams.worker.printing import Printing
from alto_streams.worker.pump import pumped
from alto_streams.worker.readiness import serve_readiness

SWEEP_EVERY_S = 60.0


def stage_app(config: Settings, pipeline: Pipeline, stage: str) -> App:
    """The home of one stage's calls; that of the root also lets requests in."""
    registry = CollectorRegistry()
    app = new_app(topic_names.stage_app(pipeline.name, stage), config, registry=registry)
    horizon_ms = int(config.horizon_s * 1000)
    limits = Limits(config.max_attempts, int(config.silence_s * 1000), config.log_values)
    app.beside(Printing(f"{pipeline.name}.{stage}"))
    machine = StageMachine(pipeline, stage, _placing(app, config, pipeline, stage, registry), limits)
    is_root = stage == pipeline.root
    rows = RowTable(
        app,
        "rows",
        on_active=lambda taken: take_over(taken),
        on_lost=lambda lost: give_up(lost),
        # What the root is late to take over has to be told how it ends before it is forgotten: it is swept later.
        expired=None if is_root else lambda key: created_ms(key) + horizon_ms < _now_ms(),
    )
    kept = Gauge("alto_rows", "Rows of requests under way, and markers of finished ones", registry=registry)
    kept.set_function(lambda: len(rows))
    admission, decisions = Admission(), DecisionLog(f"{pipeline.name}.{stage}", registry)
    shell = StageAgent(
        pipeline,
        stage,
        machine,
        rows,
        lambda outs: app.sender.send_all(outs),
        horizon_ms=horizon_ms,
        maps_at_once=config.map_concurrency,
        with_values=config.log_values,
        on_over=lambda request, status: admission.ended(request, status is Status.OK),
        decisions=decisions,
    )

    async def take_over(taken: frozenset[int]) -> None:
        for partition in sorted(taken):
            await shell.take_over(partition, _now_ms())

    def give_up(lost: frozenset[int]) -> None:
        for partition in lost:
            shell.give_up(partition)

    pumped(app, topic_names.home_topic(pipeline.name, stage), shell.handle)
    app.hold(topic_names.home_topic(pipeline.name, stage), shell.held, shell.save)
    if is_root:
        requests = RequestAgent(pipeline, lambda outs: app.sender.send_all(outs), admission, horizon_ms, decisions)
        pumped(app, topic_names.requests_topic(pipeline.name), requests.handle)
        refused = Gauge("alto_requests_refused", "Requests shed because too many were under way", registry=registry)
        refused.set_function(lambda: admission.refused)
        bound = Gauge("alto_requests_bound", "Requests that may be under way, of those to be shed", registry=registry)
        bound.set_function(lambda: admission.bound)

    @app.timer(interval=min(SWEEP_EVERY_S, config.horizon_s / 4))  # type: ignore[untyped-decorator]
    async def sweep() -> None:
        with contextlib.suppress(Fenced, Retryable):  # in the middle of a rebalance, or the broker is away: next time
            await shell.sweep(_now_ms())

    serve_readiness(app)
    return app


def _placing(app: App, config: Settings, pipeline: Pipeline, stage: str, registry: CollectorRegistry) -> Placing:
    """Where the stage's work items go, if it has any."""
    model = pipeline.stages[stage].model
    if model is None:
        return InTurn({})
    partitions = topics_of(config.topics_file, [pipeline]).partitions(topic_names.work_topic(pipeline.name, stage))
    lane = Lane(topic_names.prompt_class(pipeline.name, stage), partitions)
    dispatch = Dispatch(config, model, {stage: lane}, registry)
    app.beside(dispatch)
    return dispatch


def _now_ms() -> int:
    return int(time.time() * 1000)
