"""JSON schemas as grammars: of what may follow a text that was written by one. Pure.

Servers write the properties in the schema's order, with any white space between the tokens of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from alto_streams.models.rests import Alt, Chars, Node, Ref, Repeat, Seq, Unsupported, literal, optional

Schema = dict[str, Any] | bool

_NOTES = {
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
}
_KEYS: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    **{kind: set() for kind in ("integer", "number", "boolean", "null")},
}
# A small model may write white space for ever.
SPACE = Repeat(Chars((("\t", "\n"), ("\r", "\r"), (" ", " "))), written=8)
_HEX = Chars((("0", "9"), ("A", "F"), ("a", "f")))
_PLAIN = Chars((('"', '"'), ("\\", "\\"), ("\x00", "\x1f")), negated=True)
_ESCAPES = Chars(tuple((letter, letter) for letter in '"\\/bfnrt'))
_ESCAPED = Seq((literal("\\"), Alt((_ESCAPES, Seq((literal("u"), Repeat(_HEX, 4, 4)))))))
_DIGITS = Chars((("0", "9"),))
_INTEGER = Seq((optional(literal("-")), Alt((literal("0"), Seq((Chars((("1", "9"),)), Repeat(_DIGITS)))))))
_SIGN = optional(Chars((("+", "+"), ("-", "-"))))
_EXPONENT = Seq((Chars((("E", "E"), ("e", "e"))), _SIGN, Repeat(_DIGITS, 1)))
_NUMBER = Seq((_INTEGER, optional(Seq((literal("."), Repeat(_DIGITS, 1)))), optional(_EXPONENT)))


def grammar_of(schema: dict[str, Any]) -> tuple[Node, dict[str, Node]]:
    """The grammar of the texts that the schema accepts, and the rules that it names.

    Raises:
        Unsupported: the schema has a keyword that is not understood here.
    """
    reader = _Reader(schema)
    return Seq((SPACE, reader.value(schema), SPACE)), reader.rules


class _Reader:
    """`rules`: of what is referred to, and of any value and any string."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self._whole = whole
        self._begun = dict[str, str]()
        anything = [Ref("string"), _NUMBER, *map(literal, ("true", "false", "null"))]
        self.rules: dict[str, Node] = {"string": _string(0, None)}
        anything += [self._object({}), _array(Ref("value"), 0, None)]
        self.rules["value"] = Alt(tuple(anything))

    def value(self, schema: Schema) -> Node:
        """One value."""
        if isinstance(schema, bool):
            if not schema:
                raise Unsupported("json_schema: false, which accepts nothing")
            return Ref("value")
        keys = schema.keys() - _NOTES
        for name in ("$ref", "enum", "const", "anyOf", "oneOf"):
            if name in keys:
                if keys - {name, "type"}:
                    raise Unsupported(f"json_schema: {name} beside {min(keys - {name, 'type'})}")
                return self._special(name, schema[name])
        kinds = schema.get("type", [])
        if not keys:
            return Ref("value")
        found = [self._kind(kind, schema, keys) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
        if not found:
            raise Unsupported(f"json_schema: {min(keys)} without a type")
        return found[0] if len(found) == 1 else Alt(tuple(found))

    def _special(self, name: str, told: Any) -> Node:
        if name == "$ref":
            return self._referred(str(told))
        if name in ("anyOf", "oneOf"):
            return Alt(tuple(self.value(option) for option in told))
        options = told if name == "enum" else [told]
        if any(isinstance(option, dict | list) for option in options):
            raise Unsupported(f"json_schema: an object or array in {name}")
        return Alt(tuple(literal(json.dumps(option, ensure_ascii=False)) for option in options))

    def _referred(self, told: str) -> Node:
        if told not in self._begun:
            found: Any = self._whole
            try:
                for part in told.removeprefix("#").split("/")[1:]:
                    found = found[part.replace("~1", "/").replace("~0", "~")]
            except (KeyError, TypeError):
                found = None
            if not told.startswith("#") or not isinstance(found, dict | bool):
                raise Unsupported("json_schema: a $ref that is not within it")
            name = self._begun[told] = f"ref-{len(self._begun)}"
            self.rules[name] = self.value(found)
        return Ref(self._begun[told])

    def _kind(self, kind: str, schema: dict[str, Any], keys: set[str]) -> Node:
        known = {"type"}.union(*(_KEYS.get(each, ()) for each in _list(schema["type"])))
        if kind not in _KEYS or keys - known:
            raise Unsupported(f"json_schema: {min(keys - known, default=kind)}")
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
                return _array(self.value(schema.get("items", True)), least, most)
            case "string":
                return _string(int(schema.get("minLength", 0)), schema.get("maxLength"))
            case "boolean":
                return Alt((literal("true"), literal("false")))
            case "null":
                return literal("null")
            case _:
                return _INTEGER if kind == "integer" else _NUMBER

    def _object(self, schema: dict[str, Any]) -> Node:
        """Its properties in their order; those that are not listed follow, unless the schema forbids them."""
        listed, required = schema.get("properties", {}), schema.get("required", [])
        if {*required} - listed.keys():
            raise Unsupported("json_schema: a required property that is not listed")
        # From the last one backwards: what may come where none has come yet, and what behind one, with its comma.
        first: Node = Seq(())
        behind: Node = Seq(())
        more = schema.get("additionalProperties", True)
        if more is not False:
            other = Seq((Ref("string"), *_separated(":"), self.value(more)))
            behind = self._rule(Repeat(Seq((_COMMA, other))))
            first = optional(Seq((other, behind)))
        for name, inner in reversed(listed.items()):
            member = Seq((literal(json.dumps(name, ensure_ascii=False)), *_separated(":"), self.value(inner)))
            here = self._rule(Seq((member, behind)))
            after = Seq((_COMMA, here))
            first, behind = (here, after) if name in required else (Alt((here, first)), Alt((after, behind)))
            behind = self._rule(behind)
        return Seq((literal("{"), SPACE, first, SPACE, literal("}")))

    def _rule(self, node: Node) -> Node:
        """The node under a name: what is named twice must not be written out twice each time."""
        name = f"part-{len(self.rules)}"
        self.rules[name] = node
        return Ref(name)


def _list(told: str | Sequence[str]) -> Sequence[str]:
    return [told] if isinstance(told, str) else told


def _separated(letter: str) -> tuple[Node, ...]:
    return SPACE, literal(letter), SPACE


_COMMA = Seq(_separated(","))


def _string(least: int, most: int | None) -> Node:
    return Seq((literal('"'), Repeat(Alt((_PLAIN, _ESCAPED)), least, most), literal('"')))


def _array(item: Node, least: int, most: int | None) -> Node:
    """Items with commas between them."""
    rest = Repeat(Seq((_COMMA, item)), max(0, least - 1), None if most is None else most - 1)
    items = [] if most == 0 else [Seq((item, rest)) if least else optional(Seq((item, rest)))]
    return Seq((literal("["), SPACE, *items, SPACE, literal("]")))
