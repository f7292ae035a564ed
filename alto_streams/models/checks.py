"""Tries what an engine says that it can do, by a few short calls: what `alto-streams engines check` shows."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from alto_streams.errors import CallRejected, EngineUnavailable
from alto_streams.models.protocol import CountsTokens, Engine, Piece, PlaysRecording, TellsLoad
from alto_streams.wire.records import Call, Message

REACH_S, LOAD_S, TRY_S = 15.0, 600.0, 60.0  # an engine of this process loads its weights first
GRAMMAR = 'root ::= "yes" | "no"'
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "maxLength": 12}},
    "required": ["colour"],
    "additionalProperties": False,
}
REGEX = "[0-9]{3}"
Outcome = Literal["ok", "lacks", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one try. `lacks`: the engine does not say that it can; `failed`: it says so, and does not.

    `seconds`: how long it took; `detail`: what was seen, or what is wrong and what to do about it.
    """

    name: str
    outcome: Outcome
    seconds: float
    detail: str


class Wrong(Exception):
    """The engine has answered, and not as it should have."""


class Lacks(Exception):
    """The engine cannot, and has not said that it could."""


Try = Callable[[Engine], Awaitable[str]]


async def check_engine(engine: Engine, *, loads: bool = False) -> AsyncIterator[Finding]:
    """Each finding as it is made; no more if the engine cannot be reached. `loads`: that may take minutes."""
    reached = await _tried("reach", lambda each: _reach(each, loads), engine, LOAD_S if loads else REACH_S)
    yield reached
    if reached.outcome != "ok":
        return
    if isinstance(engine, PlaysRecording):
        yield Finding("stream", "lacks", 0.0, "a recording says what it has recorded, and nothing else: not tried")
        return
    for name, action in TRIES.items():
        if getattr(engine.capabilities, name, True):
            yield await _tried(name, action, engine, TRY_S)
        else:
            yield Finding(name, "lacks", 0.0, LACKS.get(name, ""))


async def _tried(name: str, action: Try, engine: Engine, within_s: float) -> Finding:
    began = time.monotonic()
    outcome: Outcome = "failed"
    try:
        async with asyncio.timeout(within_s):
            detail = await action(engine)
        outcome = "ok"
    except TimeoutError:
        detail = f"not within {within_s:.0f} s: is it overloaded? see its log"
    except (EngineUnavailable, CallRejected) as error:
        detail = error.cause
    except Wrong as error:
        detail = str(error)
    except Lacks as error:
        outcome, detail = "lacks", str(error)
    return Finding(name, outcome, time.monotonic() - began, detail)


async def _reach(engine: Engine, loads: bool) -> str:
    while True:
        try:
            await engine.ready()
            break
        except EngineUnavailable:
            if not loads:
                raise
            await asyncio.sleep(0.5)
    able = engine.capabilities
    context = f"{able.context_tokens} tokens a call" if able.context_tokens else "context not told: see context_tokens"
    return f"{able.slots} calls at once, {context}"


async def _stream(engine: Engine) -> str:
    began, first_s = time.monotonic(), 0.0
    pieces = list[Piece]()
    async for piece in _run(engine, _ask("Describe the sun in one sentence.", 32)):
        first_s = first_s or (time.monotonic() - began if piece.text else 0.0)
        pieces.append(piece)
    if not any(piece.text for piece in pieces):
        raise Wrong("it wrote nothing: does it serve a chat model?")
    tokens = pieces[-1].usage.output_tokens or sum(piece.count or 0 for piece in pieces)
    rest_s = time.monotonic() - began - first_s
    pace = f", {max(0, tokens - 1) / rest_s:.0f} tokens/s after it" if tokens > 1 and rest_s > 0 else ""
    return f"first token after {first_s:.2f} s{pace}"


async def _count(engine: Engine) -> str:
    tokens = await engine.count_tokens(_ask("Hello!", 1).messages) if isinstance(engine, CountsTokens) else None
    if tokens is None:
        raise Lacks("lengths of long inputs are estimated")
    return f"by its own tokenizer: {tokens} tokens of a short prompt"


async def _load(engine: Engine) -> str:
    load = await engine.load() if isinstance(engine, TellsLoad) else None
    if load is None:
        raise Lacks("what others run on it is not seen (llama.cpp tells it with --metrics, SGLang --enable-metrics)")
    used = "" if load.used is None else f", {load.used:.0%} of the cache".replace("%", " %")
    return f"{load.running} running, {load.waiting} waiting{used}"


async def _abort(engine: Engine) -> str:
    """Whether a call that is closed makes room: the next one begins, and does not wait for the other's end."""
    seen = 0
    async with aclosing(_run(engine, _ask("Tell a very long story about the sea.", 400))) as pieces:
        async for piece in pieces:
            seen += bool(piece.text)
            if seen == 3:
                break
    began, next_s = time.monotonic(), 0.0
    async for piece in _run(engine, _ask("Hello!", 1)):
        next_s = next_s or (time.monotonic() - began if piece.text or piece.finish else 0.0)
    return f"closed after {seen} pieces; the next call began after {next_s:.2f} s"


async def _resume(engine: Engine) -> str:
    """Greedily, from the middle: by token ids where the engine tells them, and by text."""
    call, told = _ask("Count from one to twenty in words.", 24), list[Piece]()
    async for piece in _run(engine, call):
        told.append(piece)
    whole, half = "".join(piece.text for piece in told), max(1, len(told) // 2)
    head = told[:half]
    prefix, spent = "".join(piece.text for piece in head), sum(piece.count or 1 for piece in head)
    tokens = [token for piece in head for token in piece.tokens or []]
    covered = all(piece.tokens for piece in head if piece.text)
    for ids in (tokens, None) if covered and tokens else (None,):
        rest = msgspec.structs.replace(call, max_tokens=max(1, call.max_tokens - spent))
        again = "".join([piece.text async for piece in _run(engine, rest, prefix, ids)])
        length = min(len(whole), len(prefix + again))
        if (prefix + again)[:length] != whole[:length] or not again:
            raise Wrong(
                f"from {'token ids' if ids else 'text'} it goes on otherwise than it did at once: if its chat template "
                "cannot leave a turn open, name ?dialect=openai"
            )
    return "from its text" + (" and from token ids" if covered and tokens else "") + ", as without a break"


async def _choices(engine: Engine) -> str:
    return _kept(await _text(engine, choices=["yes", "no"]), lambda text: text in ("yes", "no"))


async def _grammar(engine: Engine) -> str:
    return _kept(await _text(engine, grammar=GRAMMAR), lambda text: text in ("yes", "no"))


async def _schema(engine: Engine) -> str:
    return _kept(await _text(engine, json_schema=SCHEMA), lambda text: list(json.loads(text)) == ["colour"])


async def _regex(engine: Engine) -> str:
    return _kept(await _text(engine, regex=REGEX), lambda text: re.fullmatch(REGEX, text) is not None)


async def _logprobs(engine: Engine) -> str:
    found = [
        each async for piece in _run(engine, _ask("Is the sky blue?", 2, logprobs=2)) for each in piece.logprobs or []
    ]
    if not found:
        raise Wrong("it told none")
    return f"{len(found[0].top)} alternatives of a token"


def _kept(text: str, keeps: Callable[[str], bool]) -> str:
    try:
        if keeps(text):
            return f"it wrote {' '.join(text.split())}"
    except ValueError:
        pass
    raise Wrong("what it wrote does not keep to it: does the server have guided decoding switched off?")


async def _text(engine: Engine, **constraint: Any) -> str:
    call = _ask("What colour is the sky? Answer with one word.", 48, **constraint)
    return "".join([piece.text async for piece in _run(engine, call)])


def _ask(text: str, max_tokens: int, **more: Any) -> Call:
    return Call(messages=[Message("user", text)], max_tokens=max_tokens, temperature=0.0, **more)


def _run(engine: Engine, call: Call, prefix: str = "", tokens: list[int] | None = None) -> AsyncGenerator[Piece, None]:
    pieces = engine.generate(call, prefix=prefix, prefix_tokens=tokens, prompt_class="check")
    return cast("AsyncGenerator[Piece, None]", pieces)


TRIES: dict[str, Try] = {
    "stream": _stream,
    "count": _count,
    "load": _load,
    "abort": _abort,
    "continues": _resume,
    "choices": _choices,
    "grammar": _grammar,
    "json_schema": _schema,
    "regex": _regex,
    "logprobs": _logprobs,
}
LACKS = {
    "continues": 'a call that breaks off is not resumed: its stages need broken="redo" or ALTO_REDO',
    "choices": "left to the model; a stage may need it",
    "grammar": "left to the model; a stage may need it",
    "json_schema": "calls with one are refused",
    "regex": "calls with one are refused",
    "logprobs": "calls get none",
}
