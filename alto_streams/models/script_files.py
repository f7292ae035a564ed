"""Reads a script: what a scripted engine writes for each call, of any pipeline (docs/scripts.md).

One JSON object a line: the `stage` (or `pipeline.stage`), what the call is `about` (its subject: the variable part of
its prompt, unless the stage names another), and what the engine `writes`, as a text or as a list of its tokens. A line
without `about` is for every other call of its stage.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import ConfigError
from alto_streams.models.scripted import Script
from alto_streams.recordings.files import read_lines
from alto_streams.wire.records import Call

EXPECTED = '{"stage": "answers", "about": "Why do they erupt?", "writes": "They are under pressure."}'


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a script."""

    stage: str
    writes: str | list[str]
    about: str | None = None


def is_script(path: Path) -> bool:
    """Whether a file has this form, by its first line; a pipeline may have a form of its own.

    Raises:
        ConfigError: it cannot be read, or it is empty.
    """
    first = next(read_lines(path), None)
    if first is None:
        raise ConfigError(f"{path}: it is empty; a script has lines such as {EXPECTED}")
    try:
        return "stage" in msgspec.json.decode(first[1], type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def read_script(path: Path, pipelines: Iterable[Pipeline]) -> Script:
    """The completions of a script, for calls of these pipelines.

    Raises:
        ConfigError: a line is malformed, names no generate stage, or says something else than another line of the same
            call; names the file and the line.
    """
    stages = _stages(pipelines)
    written: dict[tuple[str, str | None], tuple[int, str | list[str]]] = {}
    for number, raw in read_lines(path):
        place = f"{path}, line {number}"
        try:
            line = msgspec.json.decode(raw, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"{place}: {error}; expected a line such as {EXPECTED}") from None
        key = _prompt_class(line.stage, stages, place), line.about
        before = written.setdefault(key, (number, line.writes))
        if before[1] != line.writes:
            what = "the other calls of that stage" if line.about is None else "that call"
            raise ConfigError(f"{place}: line {before[0]} has another text for {what}; keep one of them")

    def look_up(prompt_class: str, call: Call) -> str | Sequence[str] | None:
        found = written.get((prompt_class, call.subject)) or written.get((prompt_class, None))
        return None if found is None else found[1]

    return look_up


def _stages(pipelines: Iterable[Pipeline]) -> dict[str, list[str]]:
    """Each name that a line may have for a generate stage, with the prompt classes that it may mean."""
    found: dict[str, list[str]] = {}
    for pipeline in pipelines:
        for name, stage in pipeline.stages.items():
            if stage.model is not None:
                for said in (name, f"{pipeline.name}.{name}"):
                    found.setdefault(said, []).append(f"{pipeline.name}.{name}")
    return found


def _prompt_class(said: str, stages: Mapping[str, list[str]], place: str) -> str:
    meant = stages.get(said, [])
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError(f"{place}: field stage: {said!r} is a stage of several pipelines: {' or '.join(meant)}")
    near = difflib.get_close_matches(said, stages, 1) or [name for name in stages if "." in name]
    raise ConfigError(f"{place}: field stage: there is no generate stage {said!r}; known: {', '.join(near)}")
