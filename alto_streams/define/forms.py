"""What a pipeline's requests look like to who writes one: their fields, and which one a plain text is for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from alto_streams.errors import ConfigError


class Form(NamedTuple):
    """The fields of a pipeline's requests. `schema`: the JSON Schema of one, with all that it refers to."""

    pipeline: str
    schema: Mapping[str, Any]

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each field, by its name on the wire."""
        own = _resolved(self.schema, self.schema)
        found: Mapping[str, Mapping[str, Any]] = own.get("properties", {})
        return {name: _resolved(each, self.schema) for name, each in found.items()}

    @property
    def required(self) -> list[str]:
        """The fields that a request must have."""
        return list(_resolved(self.schema, self.schema).get("required", []))

    @property
    def text_field(self) -> str | None:
        """The field that a plain text is: the only required one that takes a text, else the only one at all."""
        texts = [name for name, each in self.fields.items() if each.get("type") == "string" and "enum" not in each]
        for among in ([name for name in texts if name in self.required], texts):
            if len(among) == 1:
                return among[0]
        return None

    def input_of(self, text: str) -> dict[str, Any]:
        """A request's input: the fields of a JSON object, or else the text as the field that takes one.

        Raises:
            ConfigError: it is no object, and no field is the one for a text, or others are required; names them.
        """
        given = _object(text)
        if given is not None:
            return given
        field = self.text_field
        if field is None or [name for name in self.required if name != field]:
            raise ConfigError(
                f"a request of {self.pipeline} has the fields {self.told()}; give them as a JSON object: "
                f"'{msgspec.json.encode(dict.fromkeys(self.required or self.fields)).decode()}'"
            )
        return {field: text}

    @property
    def texts(self) -> list[str]:
        """The fields whose text must say something: the one that a plain text is, and those with a least length."""
        return [name for name, each in self.fields.items() if name == self.text_field or each.get("minLength", 0) > 0]

    def told(self) -> str:
        """The fields in words, such as `name (string), most (integer, may be left out)`."""
        return ", ".join(
            f"{name} ({each.get('type', 'see the schema')}{'' if name in self.required else ', may be left out'})"
            for name, each in self.fields.items()
        )


def form_of(pipeline: str, request: type[msgspec.Struct]) -> Form:
    """The form of a pipeline's request type."""
    return Form(pipeline, msgspec.json.schema(request))


def _object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return None


def _resolved(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference stands for; of an optional field, the schema of its value."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return _resolved(whole.get("$defs", {}).get(name, {}), whole)
    others = [each for each in schema.get("anyOf", []) if each.get("type") != "null"]
    return _resolved(others[0], whole) if len(others) == 1 else schema
