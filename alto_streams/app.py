"""The composition root: one Faust app per stage, per model, per pipeline's egress, and one for the scheduler.

ALTO_APP=stage:factcheck.claims  faust -A alto_streams.app worker
ALTO_APP=model:judge             faust -A alto_streams.app worker
ALTO_APP=egress:factcheck        faust -A alto_streams.app worker
ALTO_APP=scheduler               faust -A alto_streams.app worker
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import redis.asyncio
from prometheus_client import CollectorRegistry, Gauge

from alto_streams import topic_names
from alto_streams.agents.assignor import PlanAssignor, assign_by_plan
from alto_streams.agents.control import ControlLog
from alto_streams.agents.egress import Egress
from alto_streams.agents.egress import Record as Published
from alto_streams.agents.insist import insist
from alto_streams.agents.letters import letter_of
from alto_streams.agents.lm import LMAgent
from alto_streams.agents.lm_pool import Pool, prefetch
from alto_streams.agents.lm_reports import LoadWriter, Reports, telling
from alto_streams.agents.lm_tally import Tally
from alto_streams.agents.placing import Dispatch, follows_plans
from alto_streams.agents.pump import Polled, pumped
from alto_streams.agents.readiness import serve_readiness
from alto_streams.agents.replay import ResultsReplay
from alto_streams.agents.requests import RequestAgent
from alto_streams.agents.scheduler import SchedulerWork
from alto_streams.agents.scheduler_metrics import SchedulerMetrics
from alto_streams.agents.stage import StageAgent
from alto_streams.agents.warmup import warm_up
from alto_streams.errors import Fenced, Retryable
from alto_streams.models.registry import engine_for
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.pipeline import Pipeline, load_pipelines
from alto_streams.records import Event, Poison, decoder
from alto_streams.request_ids import created_ms
from alto_streams.scheduler.dispatch import Lane
from alto_streams.scheduler.downstream import downstream
from alto_streams.settings import ConfigError, Settings, settings
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.placing import InTurn, Placing
from alto_streams.tables.store import RowTable
from alto_streams.topics import load_topics
from alto_streams.worker import App, new_app, use_fast_loop

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 60.0
CHECK_REDIS_EVERY_S = 1.0


def create_app(role: str, config: Settings | None = None) -> App:
    """The Faust app of a role: `stage:<pipeline>.<stage>`, `model:<name>`, `egress:<pipeline>` or `scheduler`.

    Raises:
        ConfigError: there is no such role, naming those that there are.
    """
    config = config or settings()
    pipelines = load_pipelines(config.pipelines, config.redo)
    kind, _, name = role.partition(":")
    if kind == "stage":
        pipeline, _, stage = name.rpartition(".")
        if pipeline in pipelines and stage in pipelines[pipeline].stages:
            return stage_app(config, pipelines[pipeline], stage)
    if kind == "model":
        stages = [(p, s) for p in pipelines.values() for s in p.models().get(name, [])]
        if stages:
            return model_app(config, name, stages)
    if kind == "egress" and name in pipelines:
        return egress_app(config, pipelines[name])
    if role == "scheduler":
        return scheduler_app(config, list(pipelines.values()))
    known = ", ".join(roles(pipelines))
    raise ConfigError(f"ALTO_APP: there is no {role!r}; known: {known}")


def roles(pipelines: dict[str, Pipeline]) -> list[str]:
    """Every worker that these pipelines need."""
    stages = [f"stage:{p.name}.{stage}" for p in pipelines.values() for stage in p.stages]
    models = sorted({f"model:{model}" for p in pipelines.values() for model in p.models()})
    return [*stages, *models, *(f"egress:{name}" for name in pipelines), "scheduler"]


def stage_app(config: Settings, pipeline: Pipeline, stage: str) -> App:
    """The home of one stage's calls; that of the root also lets requests in."""
    registry = CollectorRegistry()
    app = new_app(topic_names.stage_app(pipeline.name, stage), config, registry=registry)
    horizon_ms = int(config.horizon_s * 1000)
    limits = Limits(config.max_attempts, int(config.silence_s * 1000))
    machine = StageMachine(pipeline, stage, _placing(app, config, pipeline, stage, registry), limits)
    rows = RowTable(
        app,
        "rows",
        on_active=lambda taken: take_over(taken),
        on_lost=lambda lost: give_up(lost),
        expired=lambda key: created_ms(key) + horizon_ms < _now_ms(),
    )
    kept = Gauge("alto_rows", "Rows of requests under way, and markers of finished ones", registry=registry)
    kept.set_function(lambda: len(rows))
    shell = StageAgent(
        pipeline,
        stage,
        machine,
        rows,
        lambda outs: app.sender.send_all(outs),
        horizon_ms=horizon_ms,
        maps_at_once=config.map_concurrency,
    )

    async def take_over(taken: frozenset[int]) -> None:
        for partition in sorted(taken):
            await shell.take_over(partition, _now_ms())

    def give_up(lost: frozenset[int]) -> None:
        for partition in lost:
            shell.give_up(partition)

    pumped(app, topic_names.home_topic(pipeline.name, stage), shell.handle)
    app.hold(topic_names.home_topic(pipeline.name, stage), shell.held, shell.save)
    if stage == pipeline.root:
        pumped(
            app,
            topic_names.requests_topic(pipeline.name),
            RequestAgent(pipeline, lambda outs: app.sender.send_all(outs)).handle,
        )

    @app.timer(interval=min(SWEEP_EVERY_S, config.horizon_s / 4))  # type: ignore[untyped-decorator]
    async def sweep() -> None:
        with contextlib.suppress(Fenced, Retryable):  # in the middle of a rebalance, or the broker is away: next time
            await shell.sweep(_now_ms())

    serve_readiness(app)
    return app


def model_app(config: Settings, model: str, stages: list[tuple[Pipeline, str]]) -> App:
    """The LM workers of one model: in front of one engine, for all stages that use it."""
    engine, registry = engine_for(_target(config, model), config), CollectorRegistry()
    if isinstance(engine, ScriptedEngine):
        used = Gauge("alto_simulated_engine_cpu_seconds", "Processor time of the engine's own clock", registry=registry)
        used.set_function(lambda: engine.cpu_s)
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
    if follows_plans(config):
        assign_by_plan(app, config, model)
    topics = [topic_names.work_topic(pipeline.name, stage) for pipeline, stage in stages]
    control = ControlLog.of(config, sorted({pipeline.name for pipeline, _ in stages}))
    roots = {pipeline.name: pipeline.root for pipeline, _ in stages}
    warm, tally, worker = asyncio.Event(), Tally(), str(app.conf.canonical_url)
    owned_ms: dict[tuple[str, int], int] = {}
    shed = Gauge("alto_calls_shed", "Calls that came too late for their requests' deadlines", registry=registry)

    async def assigned(_: Any, now_owned: set[tuple[str, int]], **__: Any) -> None:
        since = {tp: owned_ms.get(tp, _now_ms()) for tp in now_owned}
        owned_ms.clear()
        owned_ms.update(since)

    app.on_partitions_assigned.connect(assigned, weak=False)

    async def work() -> None:
        agent = LMAgent(engine, control, app.sender, tally)
        control.on_over = agent.on_over
        app.watch.excuse, app.watch.moves = lambda: agent.waits_for, lambda: agent.moves
        pool = Pool(agent, slots, app.sender.send_all, app.consumer, tally, roots=roots, owned_ms=owned_ms)
        shed.set_function(lambda: pool.shed)
        send, session_s = app.sender.send, config.session_timeout_s
        away = agent.reach
        reports = Reports(tally, send, model, worker, engine.name, slots, session_s=session_s, is_away=away.look)
        loads = LoadWriter(tally, config, model, worker, lambda: _owned_work(app), lambda: away.is_away)
        try:
            await control.start()
            if not warm.is_set():
                await warm_up(engine, stages)
                warm.set()
            async with telling(reports, loads):
                with app.consumer.feeding(topics, pool):
                    await asyncio.Event().wait()
        finally:
            await pool.stop()
            await control.stop()
            await engine.close()

    app.feed(topics, work)
    serve_readiness(app, lambda: None if warm.is_set() else "the engine's prefix cache is being filled")
    return app


def _owned_work(app: App) -> dict[str, list[int]]:
    """Prompt class -> the partitions of its work topic that this worker has."""
    owned: dict[str, list[int]] = {}
    for tp in sorted(app.consumer.sources()):
        _, prompt_class = tp.topic.split(".", 1)
        owned.setdefault(prompt_class, []).append(tp.partition)
    return owned


def egress_app(config: Settings, pipeline: Pipeline) -> App:
    """What publishes the client events of one pipeline to Redis."""
    app = new_app(topic_names.egress_app(pipeline.name), config)
    client = redis.asyncio.Redis.from_url(config.redis, socket_timeout=5.0, socket_connect_timeout=2.0)
    egress = Egress(client, pipeline.name, ResultsReplay(config, pipeline.name), config)
    decode = decoder(Event)
    app.watch.excuse = lambda: egress.waits_for
    done = egress.statistics
    app.watch.moves = lambda: done.added + done.duplicates + done.read_again

    async def publish(partition: int, polled: list[Polled]) -> None:
        records, letters = [], []
        for each in polled:
            try:
                records.append(Published(partition, each.offset, decode(each.value)))
            except Poison as error:  # no event: nothing of it can be shown to anybody
                log.warning("dead letter from %s-%d@%d: %s", each.topic, partition, each.offset, error)
                letters.append(letter_of(pipeline.name, "egress", each.topic, each, str(error)))
        if letters:
            await insist(lambda: app.sender.send_all(letters))
        if records:
            await egress.publish(records)

    @app.timer(interval=CHECK_REDIS_EVERY_S)  # type: ignore[untyped-decorator]
    async def check() -> None:
        committed = app.consumer._committed_offset
        await egress.check({tp.partition: committed.get(tp) or 0 for tp in app.consumer.sources()})

    async def close(*_: Any, **__: Any) -> None:
        await client.aclose()

    app.on_before_shutdown.connect(close)
    pumped(app, topic_names.results_topic(pipeline.name), publish)
    serve_readiness(app)
    return app


def scheduler_app(config: Settings, pipelines: list[Pipeline]) -> App:
    """What plans for all models; of several workers one is active."""
    registry, topics, course = CollectorRegistry(), load_topics(config.topics_file), downstream(*pipelines)
    app = new_app(topic_names.scheduler_app(), config, registry=registry)
    partitions = {
        model: {name: topics.partitions(topic_names.class_topic(name)) for name in course.classes(model)}
        for model in sorted(set(course.models.values()))
    }
    work = SchedulerWork(app, config, partitions, course)
    registry.register(SchedulerMetrics(partitions, work))
    app.feed([topic_names.engines_topic()], work.run)
    serve_readiness(app)
    return app


def _placing(app: App, config: Settings, pipeline: Pipeline, stage: str, registry: CollectorRegistry) -> Placing:
    """Where the stage's work items go, if it has any."""
    model = pipeline.stages[stage].model
    if model is None:
        return InTurn({})
    partitions = load_topics(config.topics_file).partitions(topic_names.work_topic(pipeline.name, stage))
    lane = Lane(topic_names.prompt_class(pipeline.name, stage), partitions)
    dispatch = Dispatch(config, model, {stage: lane}, registry)
    app.beside(dispatch)
    return dispatch


def _target(config: Settings, model: str) -> str:
    try:
        return config.models[model]
    except KeyError:
        raise ConfigError(
            f"ALTO_MODELS: it names no engine for model {model!r}; add {model}=local, {model}=scripted:FILE or "
            f"{model}=openai:http://host:port/v1#name"
        ) from None


def _now_ms() -> int:
    return int(time.time() * 1000)


def __getattr__(name: str) -> App:
    if name != "app":
        raise AttributeError(name)
    use_fast_loop()
    return create_app(settings().app)
