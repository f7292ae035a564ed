"""What plans for all models; of several workers one is active."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from alto_streams.agents.scheduler.agent import SchedulerWork
from alto_streams.agents.scheduler.metrics import SchedulerMetrics
from alto_streams.define.pipeline import Pipeline
from alto_streams.log.wanted_topics import topics_of
from alto_streams.scheduler.downstream import downstream
from alto_streams.settings import Settings
from alto_streams.wire import topic_names
from alto_streams.worker.app import App, new_app
from alto_streams.worker.readiness import serve_readiness


def scheduler_app(config: Settings, pipelines: list[Pipeline]) -> App:
    """What plans for all models; of several workers one is active."""
    registry, topics, course = CollectorRegistry(), topics_of(config.topics_file, pipelines), downstream(*pipelines)
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
