"""What may follow an accepted text, and what each server is told of it."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import msgspec
import pytest

from alto_streams.errors import CallRejected, Poison
from alto_streams.models import guides, regexes, schemas
from alto_streams.models.dialects import DIALECTS
from alto_streams.models.guides import Guide, guide_of
from alto_streams.models.rests import Chars, Node, Ref, Repeat, Rest, Seq, Unsupported, literal, rest_after
from alto_streams.wire.codec import decoder, encode
from alto_streams.wire.records import Call, Message

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "a": {"type": "string", "maxLength": 3},
        "b": {"type": ["integer", "null"]},
        "c": {"type": "array", "items": {"enum": ["x", 2, None]}, "minItems": 1, "maxItems": 2},
        "d": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/e"}]},
    },
    "required": ["a", "c"],
    "additionalProperties": False,
    "$defs": {"e": {"type": "object", "properties": {"e": {"$ref": "#/$defs/e"}}, "additionalProperties": False}},
}
FITTING = (
    '{"a":"","c":["x"]}',
    ' {\n"a" : "\\u00e9\\n🌍" , "b":-10,"c":[2, null]}\n',
    '{"a":"abc","b":null,"c":["x"],"d":-0.5e+10}',
    '{"a":"abc","c":["x"],"d":{"e":{"e":{}}}}',
)
NOT_FITTING = (
    '{"a":"abcd","c":["x"]}',
    '{"b":1,"a":"a","c":["x"]}',
    '{"a":"a","c":[]}',
    '{"a":"a","c":["x","x","x"]}',
    '{"a":"a"}',
    '{"a":"a","c":["x"],"d":01}',
    '{"a":"a","c":["x"],"z":1}',
    '{"a":"a","c":["x"],}',
)
REGEXES = {
    r"[a-c]{3}-\d+": ("cab-1", "abc-007"),
    r"(yes|no)( sir)?\.": ("yes.", "no sir."),
    r"^[^x\]]+\$?$": ("a$", "ab[-"),
    r"(?:ab)*c{0,2}|\w\s\W": ("ababcc", "", "a !"),
    r"[\d_-]{2,}\\.é?": ("4_\\z", "--\\.é"),
}


def ask(**more: object) -> Call:
    return Call(messages=[Message("user", "words")], max_tokens=9, **more)  # type: ignore[arg-type]


def rest(regex: str, text: str) -> Rest:
    return rest_after(regexes.grammar_of(regex), {}, text)


@pytest.mark.parametrize("regex", REGEXES)
def test_a_regex_means_what_python_means(regex: str) -> None:
    letters, rng = "abcxyz017-_ .!$]\\é\n", random.Random(7)
    for whole in REGEXES[regex]:
        for place in range(len(whole) + 1):
            assert rest(regex, whole[:place]).fits
            altered = whole[:place] + rng.choice(letters) + whole[place + rng.randrange(2) :]
            assert (() in rest(regex, altered).stacks) == bool(re.fullmatch(regex, altered)), altered
        assert () in rest(regex, whole).stacks


@pytest.mark.parametrize(
    "regex",
    ["a(?=b)", "a*?", "(a", "a)", "[a", r"\bword", r"\1", "a{2", "a{3,1}", "*a", "[b-a]", r"[\D]", "a**", "a\\"],
)
def test_a_regex_beyond_that_is_unsupported(regex: str) -> None:
    with pytest.raises(Unsupported, match="regex"):
        regexes.grammar_of(regex)


@pytest.mark.parametrize("text", FITTING)
def test_a_schema_is_followed_from_every_place(text: str) -> None:
    json.loads(text)
    grammar = schemas.grammar_of(SCHEMA)
    assert all(rest_after(*grammar, text[:place]).fits for place in range(len(text)))
    assert () in rest_after(*grammar, text).stacks


@pytest.mark.parametrize("text", NOT_FITTING)
def test_what_a_schema_forbids_does_not_fit(text: str) -> None:
    assert () not in rest_after(*schemas.grammar_of(SCHEMA), text).stacks


def test_properties_that_are_not_listed_may_follow_unless_forbidden() -> None:
    grammar = schemas.grammar_of({"type": "object", "properties": {"a": True}})
    for text in ("{}", '{"a":[1,{"q":"z"}]}', '{"a":1,"z":false}', '{"z":1,"y":{"x":[]}}'):
        assert () in rest_after(*grammar, text).stacks
    assert not rest_after(*schemas.grammar_of({"type": "array", "maxItems": 0}), "[1").fits


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "a+"},
        {"type": "integer", "minimum": 3},
        {"minLength": 3},
        {"type": "tuple"},
        {"allOf": [{}]},
        {"enum": [[1]]},
        {"$ref": "other.json#/a"},
        {"$ref": "#/a"},
        {"anyOf": [True], "properties": {}},
        {"type": "object", "required": ["a"]},
        {"type": "array", "items": False},
    ],
)
def test_a_schema_beyond_that_is_unsupported(schema: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="json_schema"):
        schemas.grammar_of(schema)
    call = ask(json_schema=schema)
    assert guide_of(call, "") == Guide("json_schema", schema)
    with pytest.raises(CallRejected, match=r"json_schema.*redo"):
        guide_of(call, "{")


def test_the_rest_is_written_as_gbnf() -> None:
    assert rest(r"[a-c]{3}-\d+", "ca").gbnf == 'root ::= [a-c] "-" [0-9]+\n'
    assert rest('(a"|b\\\\)\n', "").gbnf == 'root ::= "a\\"\\n" | "b\\\\\\n"\n'
    assert rest("[^\\]x-]?", "").gbnf == 'root ::= "" | [^\\x5Dx\\x2D]\n'
    deep = Seq((literal("("), Repeat(Ref("deep"), 0, 1), literal(")")))
    followed = rest_after(Ref("deep"), {"deep": deep, "unused": literal("x")}, "((").gbnf
    assert followed == 'root ::= "(" deep? ")))" | "))"\ndeep ::= "(" deep? ")"\n'


def test_left_recursion_is_not_followed_for_ever() -> None:
    rules: dict[str, Node] = {"list": Seq((Ref("list"), Chars((("a", "a"),))))}
    with pytest.raises(Unsupported):
        rest_after(Ref("list"), rules, "a")


def test_what_each_server_is_told() -> None:
    schema, regex, choices = Guide("json_schema", {"type": "null"}), Guide("regex", "a+"), Guide("choices", ["x.", "y"])
    grammar = Guide("grammar", "root ::= .")
    assert guides.vllm(schema) == {"structured_outputs": {"json": {"type": "null"}}}
    assert guides.vllm(regex) == {"structured_outputs": {"regex": "a+"}}
    assert guides.vllm(choices) == {"structured_outputs": {"choice": ["x.", "y"]}}
    assert guides.llama_cpp(schema) == {"json_schema": {"type": "null"}}
    assert guides.llama_cpp(regex) == {"grammar": 'root ::= "a" [a]*\n'}
    assert guides.llama_cpp(choices) == {"grammar": 'root ::= "x." | "y"'}
    assert guides.sglang(grammar) == {"ebnf": "root ::= ."}
    assert guides.sglang(choices) == {"regex": r"(x\.)|(y)"}
    named = {"name": "answer", "schema": {"type": "null"}, "strict": True}
    assert (
        guides.sglang(schema)
        == guides.openai(schema)
        == {"response_format": {"type": "json_schema", "json_schema": named}}
    )
    assert guides.openai(grammar) == guides.openai(choices) == {}
    with pytest.raises(CallRejected, match="dialect"):
        guides.openai(regex)


@pytest.mark.parametrize(
    ("name", "key"), [("vllm", "structured_outputs"), ("llama.cpp", "grammar"), ("sglang", "ebnf")]
)
def test_a_resumed_run_is_told_the_grammar_of_what_is_left(name: Any, key: str) -> None:
    body = DIALECTS[name].chat_body(ask(regex="(yes|no) sir"), "m", "ye")
    assert body[key] in ('root ::= "s sir"\n', {"grammar": 'root ::= "s sir"\n'})
    assert "regex" not in body


@pytest.mark.parametrize(
    ("call", "prefix", "reason"),
    [
        (ask(regex="ab"), "ab", "stop"),
        (ask(regex="ab+"), "ab", None),
        (ask(json_schema={"type": "null"}), "null ", "stop"),
        (ask(json_schema={"type": "integer"}), "12", None),
        (ask(json_schema={"type": "integer"}), "", None),
    ],
)
def test_what_is_whole_has_ended(call: Call, prefix: str, reason: str | None) -> None:
    assert guides.ended(call, prefix) == reason


def test_a_call_has_one_constraint() -> None:
    with pytest.raises(ValueError, match="grammar and regex together"):
        ask(grammar="root ::= .", regex=".")
    call = ask(json_schema=SCHEMA)
    assert decoder(Call)(encode(call)) == call
    both = msgspec.json.encode({**msgspec.to_builtins(call), "regex": "."})
    with pytest.raises(Poison, match="at most one"):
        decoder(Call)(both)


def test_white_space_is_read_without_end_and_written_within_bounds() -> None:
    rest = rest_after(*schemas.grammar_of({"type": "null"}), " " * 500)
    assert rest.gbnf == (
        'root ::= "null" [\\x09-\\x0A\\x0D ]{0,8} | [\\x09-\\x0A\\x0D ] [\\x09-\\x0A\\x0D ]{0,8} "null" '
        "[\\x09-\\x0A\\x0D ]{0,8}\n"
    )
