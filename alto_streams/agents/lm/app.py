"""The LM worker of one model, in front of one engine."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from alto_streams.agents.lm.agent import LMAgent
from alto_streams.agents.lm.assignor import PlanAssignor, assign_by_plan
from alto_streams.agents.lm.away import AwayWriter
from alto_streams.agents.lm.control import ControlLog
from alto_streams.agents.lm.engine_load import EngineWatch
from alto_streams.agents.lm.needs import examples_of, until_checked
from alto_streams.agents.lm.pool import Pool, prefetch
from alto_streams.agents.lm.reports import LoadWriter, Reports, telling
from alto_streams.agents.lm.tally import Tally
from alto_streams.agents.lm.warmup import warm_up
from alto_streams.define.pipeline import Pipeline
from alto_streams.define.stages import Truncate
from alto_streams.log.letters import LetterCounts
from alto_streams.models.cards import card_of
from alto_streams.models.lengths import Lengths
from alto_streams.models.protocol import Engine, PlaysRecording
from alto_streams.models.registry import engine_for
from alto_streams.scheduler.policies import follows_plans
from alto_streams.settings import Settings
from alto_streams.wire import topic_names
from alto_streams.worker.app import App, new_app
from alto_streams.worker.readiness import serve_readiness


def model_app(config: Settings, model: str, stages: list[tuple[Pipeline, str]]) -> App:
    """The LM workers of one model: in front of one engine, for all stages that use it."""
    engine, registry = engine_for(card_of(model, config), config), CollectorRegistry()
    slots = engine.capabilities.slots
    app = new_app(
        *(topic_names.model_app(model), config),
        max_poll_records=prefetch(slots),
        in_flight=slots,
        wait_empty=False,
        standby_replicas=1,
        registry=registry,
        PartitionAssignor=PlanAssignor,
    )
    if follows_plans(config.policy):
        assign_by_plan(app, config, model)
    topics = [topic_names.work_topic(pipeline.name, stage) for pipeline, stage in stages]
    control = ControlLog.of(config, sorted({pipeline.name for pipeline, _ in stages}))
    roots = {pipeline.name: pipeline.root for pipeline, _ in stages}
    warm, tally, letters, worker = asyncio.Event(), Tally(), LetterCounts(registry), str(app.conf.canonical_url)
    watch, owned_ms = EngineWatch(engine, tally), dict[tuple[str, int], int]()
    _show(engine, watch, registry)
    shed = Gauge("alto_calls_shed", "Calls that came too late for their requests' deadlines", registry=registry)

    async def assigned(_: Any, now_owned: set[tuple[str, int]], **__: Any) -> None:
        since = {tp: owned_ms.get(tp, _now_ms()) for tp in now_owned}
        owned_ms.clear()
        owned_ms.update(since)

    app.on_partitions_assigned.connect(assigned, weak=False)

    async def work() -> None:
        agent = LMAgent(engine, control, app.sender, tally, Lengths(engine, _truncates(stages)))
        control.listen(agent.on_over)
        app.watch.consider(moves=lambda: agent.moves, excuse=lambda: agent.waits_for)
        pool = Pool(
            agent, slots, app.sender.send_all, app.consumer, tally, roots=roots, owned_ms=owned_ms, letters=letters
        )
        shed.set_function(lambda: pool.shed)
        send, session_s, away = app.sender.send, config.session_timeout_s, agent.reach
        reports = Reports(tally, send, model, worker, engine.name, slots, session_s=session_s, is_away=away.look)
        loads = LoadWriter(tally, config, model, worker, lambda: _owned_work(app), lambda: away.is_away)
        told = AwayWriter(agent.trouble, engine, config, model, worker, lambda: not tally.held)
        try:
            await control.start()
            examples = examples_of(stages)
            if not warm.is_set():
                await warm_up(engine, model, examples)
                warm.set()
            async with telling(reports, loads, watch, told):
                with app.consumer.feeding(topics, pool):
                    await until_checked(engine, model, examples, agent.trouble)  # it may have been away until now
                    await asyncio.Event().wait()
        finally:
            await pool.stop()
            await control.stop()
            await engine.close()

    app.feed(topics, work)
    serve_readiness(app, lambda: None if warm.is_set() else "the engine's prefix cache is being filled")
    return app


def _show(engine: Engine, watch: EngineWatch, registry: CollectorRegistry) -> None:
    """What an engine says of itself."""
    registry.register(watch)
    if isinstance(engine, PlaysRecording):
        used = Gauge("alto_simulated_engine_cpu_seconds", "Processor time of the engine's own clock", registry=registry)
        used.set_function(lambda: engine.cpu_s)


def _owned_work(app: App) -> dict[str, list[int]]:
    """Prompt class -> the partitions of its work topic that this worker has."""
    owned: dict[str, list[int]] = {}
    for tp in sorted(app.consumer.sources()):
        owned.setdefault(topic_names.class_of(tp.topic), []).append(tp.partition)
    return owned


def _truncates(stages: list[tuple[Pipeline, str]]) -> dict[str, Truncate]:
    """Prompt class -> how its stage says that prompts are cut."""
    said = {
        topic_names.prompt_class(pipeline.name, stage): pipeline.stages[stage].truncate for pipeline, stage in stages
    }
    return {name: how for name, how in said.items() if how is not None}


def _now_ms() -> int:
    return int(time.time() * 1000)
