"""What the tests of engines share: calls, what comes of them, and the local model's process that they all use."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alto_streams.errors import ConfigError
from alto_streams.models.local import bundled_weights
from alto_streams.models.protocol import Engine, Piece
from alto_streams.wire.records import Call, Message
from tests.unit.engine_servers import RECORDED


def ask(text: str = "Describe the sun.", max_tokens: int = 60, **more: object) -> Call:
    messages = [Message("system", "Answer briefly."), Message("user", text)]
    return Call(messages=messages, max_tokens=max_tokens, subject="sun", **more)  # type: ignore[arg-type]


async def run(engine: Engine, call: Call, prefix: str = "", tokens: list[int] | None = None) -> list[Piece]:
    stream = engine.generate(call, prefix=prefix, prefix_tokens=tokens, prompt_class="answer")
    return [piece async for piece in stream]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def tokens_of(pieces: list[Piece]) -> list[int] | None:
    """The token ids of all these pieces, or None if one of them has none."""
    told = all(piece.tokens for piece in pieces if piece.text)
    return [token for piece in pieces for token in piece.tokens or []] if told else None


def recorded(prompt_class: str, call: Call) -> str | None:
    text = call.choices[0] if call.choices else RECORDED
    return text if call.subject == "sun" else None


def local_missing() -> str | None:
    """Why the local model cannot be had, if it cannot."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "the wheel xllamacpp is not installed"
    try:
        bundled_weights()
    except ConfigError as error:
        return str(error)
    return None


@contextmanager
def local_server() -> Iterator[str]:
    """`python -m alto_streams.models.local` on a free port, by its address."""
    command = [sys.executable, "-m", "alto_streams.models.local", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.terminate()
