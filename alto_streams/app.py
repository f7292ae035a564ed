"""The composition root: one Faust app per stage, per model, per pipeline's egress, and one for the scheduler.

ALTO_APP=stage:factcheck.claims  faust -A alto_streams.app worker
ALTO_APP=model:judge             faust -A alto_streams.app worker
ALTO_APP=egress:factcheck        faust -A alto_streams.app worker
ALTO_APP=scheduler               faust -A alto_streams.app worker
"""

from __future__ import annotations

from alto_streams.agents.egress.app import egress_app
from alto_streams.agents.home.app import stage_app
from alto_streams.agents.lm.app import model_app
from alto_streams.agents.scheduler.app import scheduler_app
from alto_streams.define.loading import load_pipelines
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import ConfigError
from alto_streams.settings import Settings, settings
from alto_streams.worker.app import App, use_fast_loop


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


def __getattr__(name: str) -> App:
    if name != "app":
        raise AttributeError(name)
    use_fast_loop()
    return create_app(settings().app)
