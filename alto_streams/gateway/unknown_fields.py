"""Fields of a JSON value that its type does not know, however deep: a slip of the pen must not be taken for consent.

The records themselves ignore what they do not know, so that a log outlives a change of its types; a client that writes
a request is told. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import inspect

ALIKE = 0.6  # of two names, 0 to 1: above it one may have been meant by the other


class UnknownField(NamedTuple):
    """Where it stands, such as `places[0].citty`, and the names that its object knows, the nearest one first."""

    place: str
    known: list[str]
    near: str | None

    def __str__(self) -> str:
        name = self.place.rpartition(".")[2]
        hint = f"did you mean `{self.near}`?" if self.near else f"known: {', '.join(self.known) or 'none'}"
        return f"there is no field `{name}`; {hint}"


def unknown_field(kind: Any, value: Any) -> UnknownField | None:
    """The first one in a decoded JSON value that is meant for this type; None if there is none.

    A value of the wrong type is not looked into: the type's own decoder says what is wrong with it.
    """
    return next(_unknown(_info(kind), value, ""), None)


@lru_cache(maxsize=64)
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _unknown(info: inspect.Type, value: Any, place: str) -> Iterator[UnknownField]:
    match info:
        case inspect.Metadata():
            yield from _unknown(info.type, value, place)
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() if isinstance(value, dict):
            yield from _in_object(info, value, place)
        case inspect.DictType() if isinstance(value, dict):
            for name, each in value.items():
                yield from _unknown(info.value_type, each, f"{place}[{name}]")
        case inspect.TupleType() if isinstance(value, list):
            for nth, (each, item) in enumerate(zip(value, info.item_types, strict=False)):
                yield from _unknown(item, each, f"{place}[{nth}]")
        case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType() if isinstance(
            value, list
        ):
            for nth, each in enumerate(value):
                yield from _unknown(info.item_type, each, f"{place}[{nth}]")
        case inspect.UnionType():
            yield from _in_union(info, value, place)


def _in_object(
    info: inspect.StructType | inspect.DataclassType | inspect.TypedDictType, value: Mapping[str, Any], place: str
) -> Iterator[UnknownField]:
    fields = {field.encode_name: field.type for field in info.fields}
    own = getattr(info, "tag_field", None)
    for name, each in value.items():
        at = f"{place}.{name}".lstrip(".")
        if name in fields:
            yield from _unknown(fields[name], each, at)
        elif name != own:
            free = [known for known in fields if known not in value]
            near = next(iter(difflib.get_close_matches(name, free, 1, ALIKE)), None)
            yield UnknownField(at, sorted(fields, key=lambda known: known != near), near)


LISTS = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType, inspect.TupleType)
OBJECTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.DictType)


def _in_union(info: inspect.UnionType, value: Any, place: str) -> Iterator[UnknownField]:
    """Of the alternatives that may be meant, the one that knows most: it is the value's if it knows all of it."""
    kinds: tuple[type[inspect.Type], ...] = OBJECTS if isinstance(value, dict) else LISTS
    among = [each for each in info.types if isinstance(each, kinds)]
    if isinstance(value, dict):
        tagged = [
            each
            for each in among
            if isinstance(each, inspect.StructType) and each.tag_field and value.get(each.tag_field) == each.tag
        ]
        among = [*tagged] or among
    yield from min((list(_unknown(each, value, place)) for each in among), key=len, default=[])
