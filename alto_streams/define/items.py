"""The items of a stage as they travel: each is of the type that the stage says, or its author hears of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from alto_streams.define.stages import ParseFailure, Stage
from alto_streams.errors import PipelineError
from alto_streams.wire.records import Child, Raw, Status


class ItemWriter:
    """Makes children of what the functions and parsers of one stage give."""

    def __init__(self, stage: Stage) -> None:
        self._kind, self._many = stage.output, stage.many
        self._read = msgspec.json.Decoder(stage.output).decode

    def returned(self, found: Any) -> list[Child]:
        """The children of what a function returned. Raises `PipelineError`: it is not what its annotation says."""
        if self._many and not isinstance(found, list | tuple):
            told = self._kind.__name__
            raise PipelineError(f"it returned {_type(found)}, and its annotation says list[{told}]")
        return self.children(found if self._many else [found])

    def children(self, found: Iterable[Any]) -> list[Child]:
        """The same of items, and of what is none. Raises `PipelineError`: an item is not of the stage's type."""
        return [
            Child(status=Status.FAILED, cause=item.cause) if isinstance(item, ParseFailure) else self._child(item)
            for item in found
        ]

    def _child(self, item: Any) -> Child:
        if not isinstance(item, self._kind):
            raise PipelineError(f"an item is of type {_type(item)}, and the stage makes {self._kind.__name__}")
        try:
            value = msgspec.json.encode(item)
            self._read(value)  # else whoever takes it would fail, and would seem to be at fault
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            said = re.sub(r"(['\"]).*\1", "…", str(error), flags=re.DOTALL)  # it may quote what a user wrote
            raise PipelineError(f"a {self._kind.__name__} does not hold what its fields say: {said}") from None
        return Child(Raw(value))


def _type(found: object) -> str:
    return "None" if found is None else type(found).__name__
