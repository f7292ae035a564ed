"""Which pipeline a command means, what its requests look like, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alto_streams.define.forms import Form, form_of
from alto_streams.define.loading import load_pipelines
from alto_streams.errors import ConfigError
from alto_streams.settings import settings
from alto_streams.views import View

if TYPE_CHECKING:
    from alto_streams.client import Client


def view_of(pipeline: str) -> View:
    """The view that the pipeline brings, where ALTO_PIPELINES names it; else that of any pipeline."""
    known = load_pipelines(settings().pipelines).get(pipeline)
    return View() if known is None else known.view


def own_name(named: str | None) -> str:
    """The name of one of the pipelines in ALTO_PIPELINES: the one that is named, or the only one.

    Raises:
        ConfigError: there is none of that name, or none is named where there are several.
    """
    known = list(load_pipelines(settings().pipelines))
    return _one(named, known, "ALTO_PIPELINES")


def own_form(named: str | None) -> Form:
    """The form of the requests of that pipeline. Raises as `own_name`."""
    name = own_name(named)
    return form_of(name, load_pipelines(settings().pipelines)[name].request)


async def served_form(client: Client, named: str | None) -> Form:
    """The form of the requests of a pipeline that a gateway serves: the one that is named, or the only one.

    Raises:
        ConfigError: as `own_name`.
        PartDown, ProblemError: as the client.
    """
    served = {each["name"]: each["request"] for each in await client.pipelines()}
    name = _one(named, list(served), "at the gateway")
    return Form(name, served[name])


def _one(named: str | None, known: list[str], where: str) -> str:
    names = ", ".join(known)
    if named is None:
        if len(known) == 1:
            return known[0]
        raise ConfigError(f"--pipeline: name one of those that are known: {names or 'none'} ({where})")
    if named not in known:
        raise ConfigError(f"--pipeline {named}: there is none of that name; known: {names} ({where})")
    return named
