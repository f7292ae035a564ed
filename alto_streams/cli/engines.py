"""`alto-streams engines`: which engine each model has, and whether one can be reached and does what it says."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alto_streams.cli.groups import group
from alto_streams.errors import CommandFailed, ConfigError
from alto_streams.settings import Settings, settings

if TYPE_CHECKING:
    from alto_streams.models.cards import Card
    from alto_streams.models.checks import Finding

PLAIN_WIDTH = 160  # where no terminal says how wide it is

app = group("Show which engine each model has, and try one: reach it, stream, abort, resume, guided output.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command("list")
def show(as_json: AsJson = False) -> None:
    """Show the card of each model, and who calls it. Nothing is asked, and no key is shown.

    Cards are those of ALTO_MODELS and ALTO_MODELS_FILE; a model that neither names has the local engine, as under `up`.
    """
    config = settings()
    rows = [_fields(model, card, stages, config) for model, (card, stages) in _models(config).items()]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    used = [name for name in (cells[0] if cells else {}) if any(row[name] for row in cells)]
    _print([name.replace("_", " ") for name in used], [[row[name] for name in used] for row in cells])


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name, e.g. judge.")], as_json: AsJson = False
) -> None:
    """Try a model's engine by a few short calls, and show which capabilities it has, with times.

    Exits with 1 if it cannot be reached, or does not do what it says that it can. What it lacks is no failure: a worker
    whose pipeline needs that refuses to start. The local engine is started for it, unless ALTO_LOCAL_ENGINE names one.
    """
    config = settings()
    models = _models(config)
    if name not in models:
        known = ", ".join(models)
        raise ConfigError(f"engines check: there is no model {name!r}; known: {known} (ALTO_MODELS, ALTO_MODELS_FILE)")
    findings = asyncio.run(_check(name, models[name][0], config))
    if as_json:
        for each in findings:
            typer.echo(json.dumps({**asdict(each), "seconds": round(each.seconds, 3)}))
    else:
        rows = [[each.name, each.outcome, f"{each.seconds:.2f} s", each.detail] for each in findings]
        _print(["capability", "outcome", "took", "seen"], rows)
    if failed := [each.name for each in findings if each.outcome == "failed"]:
        raise CommandFailed(f"engine of {name}: failed: {', '.join(failed)}")


async def _check(name: str, card: Card, config: Settings) -> list[Finding]:
    from alto_streams.models.checks import check_engine
    from alto_streams.models.registry import engine_for

    async with _local(name, card, config) as placed:
        engine = engine_for(card, placed)
        try:
            typer.echo(f"{engine.name} ...", err=True)
            return [each async for each in check_engine(engine, loads=card.kind.loads)]
        finally:
            await engine.close()


@asynccontextmanager
async def _local(name: str, card: Card, config: Settings) -> AsyncIterator[Settings]:
    """The settings with the address of the local engine, which runs as long as this does if the card needs it."""
    from alto_streams.local import servers
    from alto_streams.local.signals import ends_on_signals
    from alto_streams.local.supervisor import Supervisor
    from alto_streams.worker.tcp_ports import free_ports

    if not card.kind.started or "local_engine" in config.model_fields_set:
        yield config
        return
    (port,) = free_ports(1)
    part = servers.engine(port, config, {name: card})
    async with ends_on_signals(), Supervisor([part], config.var / "logs"):
        yield config.model_copy(update={"local_engine": f"{part.address}/v1"})


def _models(config: Settings) -> dict[str, tuple[Card, list[str]]]:
    """Each model's card, and the stages that call it."""
    from alto_streams.define.loading import load_pipelines
    from alto_streams.models.cards import Card, cards
    from alto_streams.models.kinds import LOCAL

    callers: dict[str, list[str]] = {}
    for pipeline in load_pipelines(config.pipelines).values():
        for model, stages in pipeline.models().items():
            callers.setdefault(model, []).extend(f"{pipeline.name}.{stage}" for stage in stages)
    known = cards(config)
    names = sorted({*known, *callers})
    return {model: (known.get(model) or Card(engine=LOCAL.name), callers.get(model, [])) for model in names}


def _fields(model: str, card: Card, stages: Sequence[str], config: Settings) -> dict[str, Any]:
    from alto_streams.models.registry import slots_of

    return {
        "model": model,
        "engine": card.shown,
        "slots": slots_of(card, config),
        "context_tokens": card.context_tokens,
        "sampling": card.sampling.told(),
        "chat_template": str(card.chat_template) if card.chat_template else None,
        "prices": card.prices.model_dump(exclude_none=True) if card.prices else None,
        "key": _key(card, config),
        "stages": list(stages),
    }


def _key(card: Card, config: Settings) -> str | None:
    """Where the key is, and whether it is missing there."""
    if not card.kind.keyed:
        return None
    if card.api_key_env:
        return f"{card.api_key_env}{'' if os.environ.get(card.api_key_env) else ' (not set)'}"
    if file := card.api_key_file or config.engine_api_key_file:
        return f"{file}{'' if file.is_file() else ' (no such file)'}"
    return "ALTO_ENGINE_API_KEY" if config.engine_api_key else None


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
