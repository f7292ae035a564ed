"""The kinds of engine that a model card may name, one row each: whatever treats kinds differently asks the row.

A new kind is a row here and the function in `registry` that builds its engine.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineKind:
    """How an engine of this kind is named, and what a card may say of it.

    `form`: how `ALTO_MODELS` names one; `short`: the same
    for a command's help. `sized`: without a figure its slots are what this machine bears. `keyed`: it
    may need an API key. `templated`: the product applies its chat template. `sampled`: it samples, within a context.
    `loads`: it loads its weights where it is asked for the first time, which may take minutes. `started`: `up` starts
    its server.
    """

    name: str
    short: str
    form: str
    sized: bool = False
    keyed: bool = False
    templated: bool = False
    sampled: bool = True
    loads: bool = False
    started: bool = False


LOCAL = EngineKind("local", "local", "local", sized=True, templated=True, started=True)
OPENAI = EngineKind(
    "openai",
    "openai:URL#MODEL",
    "openai:http://host:port/v1#model-name (before the # ?dialect=vllm, llama.cpp, sglang or openai if need be)",
    keyed=True,
)
VLLM = EngineKind(
    "vllm",
    "vllm:PATH",
    "vllm:PATH_OR_NAME (in the worker itself; with ?argument=value for vLLM's engine arguments)",
    templated=True,
    loads=True,
)
SCRIPTED = EngineKind(
    "scripted", "scripted", "scripted:FILE (with ?timing=reference for the reference engine's timing)", sampled=False
)
UNKNOWN = EngineKind("", "", "")

KINDS: dict[str, EngineKind] = {kind.name: kind for kind in (OPENAI, VLLM, LOCAL, SCRIPTED)}
FORMS = "; ".join(kind.form for kind in KINDS.values())


def kind_of(engine: str) -> EngineKind:
    """The kind of an engine as a card or `ALTO_MODELS` names it; `UNKNOWN` for none of them."""
    return KINDS.get(engine.partition(":")[0], UNKNOWN)
