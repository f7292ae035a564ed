"""What is said of a setting with a wrong value: its name, the value unless it is secret, and what is expected."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


def redacted(url: str) -> str:
    """An address, or several with ; between, that may be shown: without the users and passwords of their URLs."""
    return re.sub(r"(^|://|[;,=])(?:(?!://)[^;,])*@", r"\1", url)


def has_host(url: str) -> bool:
    """Whether a URL names a host, and no impossible port."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or none that there is
        return False


def said(error: Any, prefix: str, fields: Mapping[str, Any]) -> str:
    """One line of one of pydantic's errors. What is secret is not shown."""
    own = error["type"] == "value_error"
    text = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return text
    name = str(error["loc"][0])
    given, field = error["input"], fields[name]
    is_secret = "key" in name or not isinstance(given, str | int | float)
    shown = "" if is_secret else f"={redacted(str(given))}"
    wanted = text if own else _wanted(field) or text
    default = "" if field.default is None or field.default == "" or isinstance(field.default, dict) else field.default
    default = ",".join(default) if isinstance(default, list) else default
    return f"{prefix}{name.upper()}{shown}: {wanted}" + (f"; without it: {default}" if default != "" else "")


def _wanted(field: Any) -> str:
    """What a field of numbers takes, in words."""
    kinds = typing.get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else (field.annotation,)
    if int not in kinds and float not in kinds:
        return ""
    bounds = {
        name: getattr(each, name) for each in field.metadata for name in ("ge", "gt", "le") if hasattr(each, name)
    }
    what = "a whole number" if int in kinds else "a number"
    if {"ge", "le"} <= bounds.keys():
        return f"expected {what} from {bounds['ge']} to {bounds['le']}"
    if "gt" in bounds:
        return f"expected {what} above {bounds['gt']}"
    return f"expected {what} of at least {bounds['ge']}" if "ge" in bounds else f"expected {what}"
