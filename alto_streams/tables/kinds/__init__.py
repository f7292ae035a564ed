"""The kinds of stages, a module each, named as the kind is: `define/topology.py` says which there are. Pure."""

from __future__ import annotations

import importlib

from alto_streams.define.topology import Kind
from alto_streams.tables.kinds.call_kind import CallKind


def class_of(kind: Kind) -> type[CallKind]:
    """The class of a kind's calls: `<Kind>Calls` of its module."""
    module = importlib.import_module(f"{__name__}.{kind}")
    found: type[CallKind] = getattr(module, f"{kind.title()}Calls")
    return found
