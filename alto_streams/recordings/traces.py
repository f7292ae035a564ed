"""Traces of arrival times and lengths without any text, in the form of Mooncake's: made into recordings. Pure.

A line has `timestamp` (since the trace's begin, in ms or another unit), `input_length` and `output_length` in tokens,
and `hash_ids`: one id for each block of 512 tokens of the input, the last of which may be shorter. Requests that begin
with the same ids begin with the same text (prefix caches are what such traces are for), so each id stands for a text of
its own here.
See github.com/kvcache-ai/Mooncake and its paper at FAST '25.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from alto_streams.errors import ConfigError, Poison
from alto_streams.recordings.format import MOST_BYTES, Recorded
from alto_streams.wire.records import Mode, Raw, decoder

BLOCK_TOKENS = 512
TOKENS_PER_WORD = 1.35
_VOCABULARY = """
water light stone river paper green metal night cloud south market winter garden letter window summer village island
forest bridge copper silver engine harbor valley desert castle planet silent narrow early simple distant common bright
heavy gentle sudden modern ancient open frozen hidden written carried followed opened reached turned counted gathered
remembered across under between before after around against toward where often slowly almost
"""
WORDS = _VOCABULARY.split()

_Length = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]


class TraceLine(msgspec.Struct, frozen=True):
    """One request of a trace; other fields are ignored."""

    timestamp: Annotated[float, msgspec.Meta(ge=0)]
    input_length: _Length
    output_length: Annotated[int, msgspec.Meta(ge=0)] = 0
    hash_ids: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """How a request's input is made of lengths.

    `field` gets the text; `output_field`, if named, the output's length; `more` is part of every input. At most
    `most_tokens` of an input are written. `seed`: of all texts. `unit_ms`: of the timestamps, in milliseconds.
    """

    pipeline: str
    field: str = "prompt"
    output_field: str | None = None
    more: str = "{}"
    mode: Mode = Mode.STREAM
    block_tokens: int = BLOCK_TOKENS
    tokens_per_word: float = TOKENS_PER_WORD
    most_tokens: int | None = None
    seed: int = 0
    unit_ms: float = 1.0


_read = decoder(TraceLine)


def requests_of(source: str, lines: Iterable[tuple[int, bytes]], shape: Shape, begin_ms: int) -> Iterator[Recorded]:
    """The requests of a trace's lines, the trace's begin being at `begin_ms`. Ids are the numbers of the lines.

    Raises:
        ConfigError: a line is malformed, or its ids are not as many as its blocks; names the line and the field. Or
            it is more text than memory should hold.
    """
    fixed: dict[str, Any] = msgspec.json.decode(shape.more, type=dict[str, Any])
    size = 0
    for number, line in lines:
        try:
            found = _read(line)
        except Poison as error:
            raise ConfigError(f"{source}, line {number}: {error}") from None
        blocks = math.ceil(found.input_length / shape.block_tokens)
        if found.hash_ids is not None and len(found.hash_ids) != blocks:
            raise ConfigError(
                f"{source}, line {number}: field hash_ids has {len(found.hash_ids)} ids; {found.input_length} tokens "
                f"are {blocks} blocks of {shape.block_tokens} (--block-tokens)"
            )
        ids = found.hash_ids if found.hash_ids is not None else [f"{number}.{nth}" for nth in range(blocks)]
        value = fixed | {shape.field: text_of(found.input_length, ids, shape)}
        if shape.output_field is not None:
            value[shape.output_field] = found.output_length
        made = Raw(msgspec.json.encode(value))
        size += len(made)
        if size > MOST_BYTES:
            gib = MOST_BYTES >> 30
            raise ConfigError(f"{source}, line {number}: over {gib} GiB of text; cut it by --limit or --most-tokens")
        yield Recorded(
            f"line-{number:07}", begin_ms + round(found.timestamp * shape.unit_ms), shape.pipeline, made, shape.mode
        )


def timestamps_of(source: str, lines: Iterable[tuple[int, bytes]]) -> list[float]:
    """The timestamps alone, as they are written. Raises `ConfigError` as `requests_of`."""
    found = []
    for number, line in lines:
        try:
            found.append(_read(line).timestamp)
        except Poison as error:
            raise ConfigError(f"{source}, line {number}: {error}") from None
    return found


def text_of(tokens: int, ids: Iterable[int | str], shape: Shape) -> str:
    """A text of about so many tokens: block after block, each one's words drawn with its id."""
    left = tokens if shape.most_tokens is None else min(tokens, shape.most_tokens)
    words: list[str] = []
    for block in ids:
        if left <= 0:
            break
        rng = random.Random(f"{shape.seed}:{block}")
        count = max(1, round(min(left, shape.block_tokens) / shape.tokens_per_word))
        words += rng.choices(WORDS, k=count)  # a shorter block is the beginning of the whole one
        left -= shape.block_tokens
    return " ".join(words)
