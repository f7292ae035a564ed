"""The requests of a file of JSON lines, for `run`: an id each, and the fields of their pipeline's requests.

    {"id": "1", "name": "volcanoes", "most": 3}
    {"id": "2", "input": {"name": "glaciers"}}

In the first form fields that the pipeline does not know are left out: a recording with more in it can be sent as it is.
One that looks like a slip of a known one is refused. A pipeline whose requests have a field `id` or `input` of their
own takes the second form only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from alto_streams.define.forms import Form
from alto_streams.errors import ConfigError
from alto_streams.recordings.files import read_lines

ALIKE = 0.8  # of two names, 0 to 1: above it one is taken for a slip of the other
EXPECTED = 'expected {"id": "...", ...} with the fields of a request, or {"id": "...", "input": {...}}'


class Row(NamedTuple):
    """One request of a file. `id` is the file's own name for it."""

    id: str
    input: dict[str, Any]


class Rows(NamedTuple):
    """The requests of a file as they fit a pipeline. `left_out`: fields that it does not know, in any of them."""

    rows: list[Row]
    left_out: list[str]


class Line(NamedTuple):
    """A line that is a JSON object with an id. `place`: the file and the line."""

    place: str
    id: str
    fields: dict[str, Any]


def read_objects(path: Path) -> list[Line]:
    """The lines of a file, plain or gzipped; empty lines are skipped.

    Raises:
        ConfigError: the file cannot be read, or a line has no id or the id of another one: names the line.
    """
    found: dict[str, Line] = {}
    for number, line in read_lines(path):
        place = f"--input {path}, line {number}"
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{place}: {error}; {EXPECTED}") from None
        name = fields.pop("id", None)
        if not isinstance(name, str):
            raise ConfigError(f"{place}: `id` {'is no text' if name is not None else 'is missing'}; {EXPECTED}")
        if name in found:
            before = found[name].place.rpartition(" ")[2]
            raise ConfigError(f"{place}: id {name!r} stands in line {before} already")
        found[name] = Line(place, name, fields)
    if not found:
        raise ConfigError(f"--input {path}: it holds no request")
    return list(found.values())


def fitted(lines: Iterable[Line], form: Form) -> Rows:
    """The requests as this pipeline takes them.

    Raises:
        ConfigError: one lacks a field that it must have, or has one that looks like a slip: names the line and field.
    """
    left_out: dict[str, None] = {}
    rows = []
    for line in lines:
        given = line.fields.get("input")
        if isinstance(given, dict) and ("input" not in form.fields or set(line.fields) == {"input"}):
            unknown, value, known = [], given, list(form.fields)
        else:
            known = list(form.fields)
            unknown = [name for name in line.fields if name not in form.fields]
            value = {name: each for name, each in line.fields.items() if name in form.fields}
        _check(line.place, unknown, value, form, known)
        left_out |= dict.fromkeys(unknown)
        rows.append(Row(line.id, value))
    return Rows(rows, list(left_out))


def _check(place: str, unknown: list[str], value: dict[str, Any], form: Form, known: list[str]) -> None:
    for name in unknown:
        near = difflib.get_close_matches(name, [each for each in known if each not in value], 1, ALIKE)
        if near:
            raise ConfigError(f"{place}: a request of {form.pipeline} has no field `{name}`; is it `{near[0]}`?")
    for name in form.required:
        if name not in value:
            raise ConfigError(f"{place}: it has no `{name}`; a request of {form.pipeline} has the fields {form.told()}")
    for name in form.texts:
        if isinstance(value.get(name), str) and not value[name].strip():
            raise ConfigError(f"{place}: `{name}` is empty")
