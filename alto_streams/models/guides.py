"""What a run's text must keep to, in each server's own words; of a resumed run, what is left of it.

The whole of a JSON schema or regular expression is the server's own to keep to. What may follow an accepted text no
server can say: that is a grammar, made here, and where none can be made the call is refused rather than set free.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from alto_streams.errors import CallRejected
from alto_streams.models import regexes, schemas
from alto_streams.models.rests import Rest, Unsupported, rest_after
from alto_streams.wire.grammars import one_of
from alto_streams.wire.records import Call
from alto_streams.wire.resume import choices_left, finished

Json = dict[str, Any]
Kind = Literal["choices", "grammar", "json_schema", "regex"]
REDO = 'declare its stage with broken="redo"'


@dataclass(frozen=True, slots=True)
class Guide:
    """One constraint of what a run writes itself: `value` is choices, GBNF, a JSON schema or a regular expression."""

    kind: Kind
    value: Any


def guide_of(call: Call, prefix: str) -> Guide | None:
    """What constrains the text behind `prefix`; None if nothing does.

    Raises:
        CallRejected: the prefix is no beginning of what the call asks for, or what may follow it cannot be said.
    """
    if call.choices is not None:
        left = choices_left(call.choices, prefix)
        if not left:
            raise CallRejected("none of the call's choices begins with the accepted text")
        return Guide("choices", left)
    if call.grammar is not None:
        return Guide("grammar", call.grammar)
    for kind, value in (("json_schema", call.json_schema), ("regex", call.regex)):
        if value is not None:
            return Guide("grammar", _rest(call, prefix).gbnf) if prefix else Guide(kind, value)  # type: ignore[arg-type]
    return None


def ended(call: Call, prefix: str) -> Literal["stop", "length"] | None:
    """Why a call may write nothing behind the prefix; None if it may.

    Raises:
        CallRejected: as `guide_of`.
    """
    told = finished(call, prefix)
    if told is None and prefix and (call.json_schema is not None or call.regex is not None):
        return "stop" if _is_done(_rest(call, prefix)) else None
    return told


def vllm(guide: Guide) -> Json:
    """vLLM's `structured_outputs`."""
    names = {"choices": "choice", "json_schema": "json"}
    return {"structured_outputs": {names.get(guide.kind, guide.kind): guide.value}}


def llama_cpp(guide: Guide) -> Json:
    """llama.cpp's `json_schema` or `grammar`; it reads no regular expressions, so these become grammars.

    Raises:
        CallRejected: the regular expression has something for which there is no grammar.
    """
    match guide.kind:
        case "json_schema":
            return {"json_schema": guide.value}
        case "choices":
            return {"grammar": one_of(guide.value)}
        case "regex":
            return {"grammar": _regex_rest(guide.value, "").gbnf}
        case _:
            return {"grammar": guide.value}


def sglang(guide: Guide) -> Json:
    """SGLang's `regex`, `ebnf` (which is GBNF), or `response_format`."""
    match guide.kind:
        case "json_schema":
            return _response_format(guide.value)
        case "choices":
            return {"regex": "|".join(f"({re.escape(choice)})" for choice in guide.value)}
        case "regex":
            return {"regex": guide.value}
        case _:
            return {"ebnf": guide.value}


def openai(guide: Guide) -> Json:
    """OpenAI's own `response_format`, which knows nothing but schemas: grammars and choices leave the text free.

    Raises:
        CallRejected: the call asks for a regular expression.
    """
    if guide.kind == "regex":
        raise CallRejected("it cannot keep to a regular expression: if it can, name its dialect in ALTO_MODELS")
    return _response_format(guide.value) if guide.kind == "json_schema" else {}


def _response_format(schema: Json) -> Json:
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _rest(call: Call, prefix: str) -> Rest:
    if call.regex is not None:
        rest = _regex_rest(call.regex, prefix)
    else:
        rest = _schema_rest(json.dumps(call.json_schema), prefix)
    if not rest.fits:
        raise CallRejected(f"the accepted text is no beginning of what the call's constraint allows: {REDO}")
    return rest


@lru_cache(maxsize=64)
def _regex_rest(regex: str, prefix: str) -> Rest:
    try:
        return rest_after(regexes.grammar_of(regex), {}, prefix)
    except Unsupported as error:
        raise CallRejected(f"what may be written is not known of this {error}: {REDO}") from None


@lru_cache(maxsize=64)
def _schema_rest(schema: str, prefix: str) -> Rest:
    try:
        return rest_after(*schemas.grammar_of(json.loads(schema)), prefix)
    except Unsupported as error:
        raise CallRejected(f"what may be written is not known of this {error}: {REDO}") from None


def _is_done(rest: Rest) -> bool:
    """Whether nothing may follow that counts: white space behind a JSON value does not."""
    space = (schemas.SPACE, schemas.SPACE.part)
    return () in rest.stacks and all(node in space for stack in rest.stacks for node in stack)
