"""The records that an author defines: each must be one that JSON can carry and its types can be read. Pure."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from alto_streams.define.stages import Record
from alto_streams.errors import PipelineError

EXAMPLE = "class Topic(Record): name: str"


def check_request(where: str, kind: object) -> None:
    """The type of a pipeline's requests. Raises `PipelineError`."""
    if not isinstance(kind, type):
        told = f"an instance of {type(kind).__name__}" if not hasattr(kind, "__origin__") else str(kind)
        raise PipelineError(f"{where}: request={told}: expected a class that derives from Record, such as {EXAMPLE}")
    if kind is Record or not issubclass(kind, Record):
        raise PipelineError(
            f"{where}: request={kind.__name__}: expected a class that derives from Record, such as {EXAMPLE}"
        )
    check_record(where, kind)


def check_record(where: str, kind: type[Record]) -> None:
    """All that a record holds can be read and written. Raises `PipelineError` with the record and the field."""
    try:
        msgspec.json.Decoder(kind)
        for record, field, custom in _customs(kind, set()):
            raise PipelineError(
                f"{where}: {record}.{field} is of type {custom}, which JSON cannot carry; use text, numbers, lists, "
                "dicts, enums, or a class that derives from Record"
            )
    except (NameError, AttributeError) as error:
        raise PipelineError(
            f"{where}: the types of {kind.__name__} cannot be read: {error}; import it, or define it at the top level "
            "of its module, above the pipeline"
        ) from None
    except (TypeError, ValueError) as error:
        raise PipelineError(f"{where}: {kind.__name__} cannot be read as JSON: {error}") from None


def _customs(kind: type[msgspec.Struct], seen: set[Any]) -> Iterator[tuple[str, str, str]]:
    """(record, field, type) of what is neither JSON nor a record, at any depth."""
    seen.add(kind)
    for field in msgspec.structs.fields(kind):
        for part in _parts(field.type):
            if _is_custom(part):
                yield kind.__name__, field.name, getattr(part, "__name__", str(part))
            if isinstance(part, type) and issubclass(part, msgspec.Struct) and part not in seen:
                yield from _customs(part, seen)


def _parts(hint: Any) -> Iterator[Any]:
    """A hint, and all that it is made of."""
    yield hint
    if typing.get_origin(hint) is typing.Literal:
        return
    for each in typing.get_args(hint):
        yield from _parts(each)


def _is_custom(part: Any) -> bool:
    """Whether msgspec would take it on trust: it can be made into bytes by nobody."""
    if not isinstance(part, type) or typing.get_origin(part) is not None or issubclass(part, msgspec.Struct):
        return False
    return type(msgspec.inspect.type_info(part)).__name__ == "CustomType"
