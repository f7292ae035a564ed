"""Pipelines of language models, served by streaming partial outputs between stages over Kafka.

What a pipeline's author writes with, and what a program asks a running system by:

    from alto_streams import Gather, JsonLines, Lines, Message, Pipeline, Prompt, Record, Sentences, Whole
    from alto_streams import Client

Each name is imported when it is first asked for: a worker imports this package, and needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alto_streams.client import Client, ClientEvent
    from alto_streams.define.parsers import JsonLines, Lines, Sentences, Whole
    from alto_streams.define.pipeline import Gather, ParseFailure, Parser, Pipeline, Prompt, Record
    from alto_streams.errors import AltoError, ConfigError, PipelineError
    from alto_streams.wire.call import Message, TokenLogprob

    __version__: str

__all__ = [
    "AltoError",
    "Client",
    "ClientEvent",
    "ConfigError",
    "Gather",
    "JsonLines",
    "Lines",
    "Message",
    "ParseFailure",
    "Parser",
    "Pipeline",
    "PipelineError",
    "Prompt",
    "Record",
    "Sentences",
    "TokenLogprob",
    "Whole",
]

_MODULES = {
    "client": ("Client", "ClientEvent"),
    "define.parsers": ("JsonLines", "Lines", "Sentences", "Whole"),
    "define.pipeline": ("Gather", "ParseFailure", "Parser", "Pipeline", "Prompt", "Record"),
    "errors": ("AltoError", "ConfigError", "PipelineError"),
    "wire.call": ("Message", "TokenLogprob"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        found: Any = import_module("importlib.metadata").version("alto-streams")
    elif name in _MODULE_OF:
        found = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
