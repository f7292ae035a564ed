"""JSON schemas and regular expressions: kept to by the whole, and by a whole that was resumed anywhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from alto_streams.errors import CallRejected
from alto_streams.models.protocol import Engine
from tests.engines.subjects import FULL
from tests.unit.engines import ask, run, text_of, tokens_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["star", "planet"]},
        "age": {"type": "integer"},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 6}, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "kind", "names"],
    "additionalProperties": False,
}
REGEX = r"(The|A) [a-z]{3,8} is (not )?[a-z]+ \(\d{1,3}%\)\."
PLACES = 12 if FULL else 4


def is_kept(text: str) -> bool:
    """Whether the schema accepts the text."""
    try:
        said = json.loads(text)
    except ValueError:
        return False
    kinds = {"name": str, "kind": str, "age": int, "names": list}
    names = said.get("names", [])
    return (
        {"name", "kind", "names"} <= said.keys() <= kinds.keys()
        and all(isinstance(value, kinds[key]) for key, value in said.items())
        and said["kind"] in ("star", "planet")
        and len(said["name"]) <= 12
        and 1 <= len(names) <= 2
        and all(isinstance(name, str) and len(name) <= 6 for name in names)
    )


async def test_the_whole_keeps_to_a_schema(model: Engine) -> None:
    """A small model may write white space for ever, so only what ended by itself is judged: at least one must."""
    ended = []
    for question in ("Describe the sun as JSON.", "Describe the moon as JSON.", "Describe Mars as JSON."):
        pieces = await run(model, ask(question, 80, json_schema=SCHEMA))
        if pieces[-1].finish == "stop":
            ended.append(text_of(pieces))
            assert is_kept(ended[-1]), ended[-1]
    assert ended


async def test_a_schema_is_kept_to_from_every_place(model: Engine) -> None:
    call = ask("Describe the sun as JSON.", 80, json_schema=SCHEMA)
    pieces = [piece for piece in await run(model, call) if piece.text]
    ended = 0
    for count in range(1, len(pieces), len(pieces) // PLACES + 1):
        prefix = text_of(pieces[:count])
        resumed = await run(model, call, prefix, tokens_of(pieces[:count]))
        if resumed[-1].finish == "stop":
            ended += 1
            assert is_kept(prefix + text_of(resumed)), prefix + text_of(resumed)
    assert ended


async def test_a_regular_expression_is_kept_to_from_every_place(model: Engine) -> None:
    call = ask("Is the sun hot?", 60, regex=REGEX, stop=["."])
    free = ask("Is the sun hot?", 60, regex=REGEX, temperature=0.7, seed=3)
    for each in (call, free):
        pieces = [piece for piece in await run(model, each) if piece.text]
        whole = text_of(pieces) + ("." if each is call else "")
        assert re.fullmatch(REGEX, whole) or len(pieces) > 50, whole
        for count in range(1, len(pieces), len(pieces) // PLACES + 1):
            prefix = text_of(pieces[:count])
            resumed = await run(model, each, prefix, tokens_of(pieces[:count]))
            text = prefix + text_of(resumed) + ("." if each is call else "")
            assert re.fullmatch(REGEX, text) or resumed[-1].finish == "length", text


async def test_a_grammar_is_kept_to(model: Engine) -> None:
    pieces = await run(model, ask("Is the sky blue?", grammar='root ::= ("yes" | "no") "\\n"'))
    assert text_of(pieces) in ("yes\n", "no\n")
    assert pieces[-1].finish == "stop"


async def test_what_is_whole_is_not_continued(model: Engine) -> None:
    whole = '{"name": "a", "kind": "star", "names": ["b"]}'
    assert text_of(await run(model, ask(json_schema=SCHEMA), whole)) == ""
    assert text_of(await run(model, ask(regex="a{2}"), "aa")) == ""


async def test_a_prefix_that_does_not_fit_is_refused(model: Engine) -> None:
    with pytest.raises(CallRejected, match="no beginning"):
        await run(model, ask(json_schema=SCHEMA), '{"kind"')
    with pytest.raises(CallRejected, match="no beginning"):
        await run(model, ask(regex="a+"), "b")


async def test_what_a_server_cannot_read_is_refused_without_a_quote(model: Engine) -> None:
    for wrong in (ask("secret", grammar="root ::= ("), ask("secret", regex="(secret"), ask("secret " * 4000)):
        with pytest.raises(CallRejected) as raised:
            await run(model, wrong)
        assert "secret" not in str(raised.value)
