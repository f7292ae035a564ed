"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from alto_streams.errors import ConfigError
from alto_streams.models.kinds import KINDS, SCRIPTED
from alto_streams.settings import settings
from alto_streams.wire.records import Mode as Mode

GIVE_UP_S = 10.0
Advance = Callable[[], None]

PipelineName = Annotated[
    str | None, typer.Option("--pipeline", metavar="NAME", help="The pipeline. Default: the only one there is.")
]
ModeChoice = Annotated[
    Mode, typer.Option(help="stream: stages start on partial outputs; barrier: stage by stage.", case_sensitive=False)
]
Gateways = Annotated[
    list[str] | None,
    typer.Option("--gateway", metavar="URL", help="A gateway; may be given again. Default: the one of this machine."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(kind.short for kind in KINDS.values()),
        help="What runs the models, in the forms of ALTO_MODELS; vLLM inside the workers (vllm:) once for each model. "
        "Default: ALTO_MODELS or local.",
    ),
]
Script = Annotated[Path | None, typer.Option(metavar="FILE", help="What --engine scripted writes: docs/scripts.md.")]
Gguf = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Weights of the local engine. Default: ALTO_GGUF or SmolLM2-135M.")
]
Apps = Annotated[
    list[str] | None,
    typer.Option(
        "--app",
        metavar="MODULE:ATTRIBUTE",
        help="A pipeline to serve, such as my_module:pipeline; may be given again. Default: ALTO_PIPELINES.",
    ),
]
Workers = Annotated[int, typer.Option("--workers-per-stage", min=1, max=64, help="Processes per stage and model.")]


def choose_apps(apps: list[str] | None) -> None:
    """What `--app` names is what this process and those that it starts serve, as if ALTO_PIPELINES named it.

    Raises:
        ConfigError, PipelineError: one names no pipeline, or one that is wrong.
    """
    if not apps:
        return
    from alto_streams.define.loading import pipeline_at

    for app in apps:
        pipeline_at(app, "--app")
    os.environ["ALTO_PIPELINES"] = ",".join(apps)
    settings.cache_clear()


def default_gateway() -> str:
    """Where a system of this machine has its gateway."""
    return f"http://{settings().host}:{settings().gateway_port}"


def gateways(given: list[str] | None) -> list[str]:
    """The addresses of gateways.

    Raises:
        ConfigError: one is no HTTP address.
    """
    for address in given or []:
        if not address.startswith(("http://", "https://")):
            raise ConfigError(f"--gateway {address}: expected an address such as http://127.0.0.1:8600")
    return given or [default_gateway()]


def engine_target(engine: str | None, script: Path | None) -> str | None:
    """The target for every model, as in ALTO_MODELS; None leaves those of ALTO_MODELS.

    Raises:
        ConfigError: no such engine, or --script without --engine scripted, or the other way round.
    """
    if engine == SCRIPTED.name:
        if script is None:
            raise ConfigError("--engine scripted: it needs the recording; add --script FILE")
        if not script.is_file():
            raise ConfigError(f"--script {script}: no such file")
        return f"{SCRIPTED.name}:{script.resolve()}"
    if script is not None:
        raise ConfigError(f"--script {script}: only --engine scripted takes a recording")
    if engine is not None:
        from alto_streams.models.cards import of_engine
        from alto_streams.models.registry import engine_for

        engine_for(of_engine(engine, "--engine"), settings())  # what no worker could begin with is refused here
    return engine
