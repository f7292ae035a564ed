"""Model cards: which engine a model's calls go to, and what is to be known of it.

`ALTO_MODELS` gives the engine alone, `chat=local`; the YAML file of `ALTO_MODELS_FILE` gives the rest:

    chat:
      engine: openai:http://vllm:8000/v1#Qwen/Qwen2.5-7B-Instruct   # as in ALTO_MODELS
      api_key_file: /run/secrets/qwen
      sampling: {temperature: 0.7, top_p: 0.9}

A model that both name is the one of `ALTO_MODELS`. Keys stand in neither: a card names where its key is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError, model_validator

from alto_streams.errors import ConfigError
from alto_streams.models.kinds import FORMS, EngineKind, kind_of
from alto_streams.settings import Settings
from alto_streams.strict_yaml import StrictLoader

SHORT = "ALTO_MODELS"
FILE = "ALTO_MODELS_FILE"
SLOTS = 8
_KEY_HINT = "a key itself never stands here: name a variable in api_key_env, or a file in api_key_file"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sampling(_Strict):
    """For what a call leaves open: a stage's own temperature comes first. Names and meanings are those of vLLM."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None

    def told(self) -> dict[str, float]:
        """Those that are given."""
        return self.model_dump(exclude_none=True)


class Prices(_Strict):
    """Per million tokens. `cached`: of prompt tokens that a prefix cache spared; without it, as any of the prompt."""

    prompt: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached: Annotated[float, Field(ge=0)] | None = None
    currency: str = "USD"


class Card(_Strict):
    """One model. `engine` has the forms of `ALTO_MODELS`; whatever else is left out, the engine or a setting decides.

    `context_tokens`: of one call. `slots`: calls at once. `chat_template`: a Jinja file, for engines that are run here.
    """

    engine: str
    context_tokens: Annotated[int, Field(ge=128)] | None = None
    chat_template: Path | None = None
    sampling: Sampling = Sampling()
    slots: Annotated[int, Field(ge=1, le=4096)] | None = None
    prices: Prices | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    api_key_file: Path | None = None
    _where: str = PrivateAttr(SHORT)

    @model_validator(mode="after")
    def _fits(self) -> Card:
        kind = self.kind
        if self.api_key_env and self.api_key_file:
            raise ValueError("give one of api_key_env and api_key_file")
        if (self.api_key_env or self.api_key_file) and not kind.keyed:
            raise ValueError(f"engine {kind.name} takes no key: remove api_key_env and api_key_file")
        if self.chat_template and not kind.templated:
            raise ValueError("chat_template: a server applies its own: give it to the server (vllm: --chat-template)")
        if not kind.sampled and (self.sampling.told() or self.context_tokens):
            raise ValueError("a recording has neither sampling nor context_tokens: remove them")
        return self

    @property
    def where(self) -> str:
        """Where it stands, for errors: the setting, or the file and the model."""
        return self._where

    @property
    def kind(self) -> EngineKind:
        """Of its engine."""
        return kind_of(self.engine)

    @property
    def shown(self) -> str:
        """The engine without what stands before an @, which may be a password."""
        head, at, tail = self.engine.rpartition("@")
        return f"openai:…@{tail}" if at and "//" in head else self.engine

    def api_key(self, config: Settings) -> str | None:
        """Its own key, else the one of the settings; an empty one counts as none.

        Raises:
            ConfigError: the variable is not set, or the file cannot be read.
        """
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env, "").strip()
            if not key:
                raise ConfigError(f"{self.where}.api_key_env: the environment has no {self.api_key_env}; set it")
            return key
        if self.api_key_file is not None:
            return _read_key(self.api_key_file, f"{self.where}.api_key_file")
        if config.engine_api_key_file is not None:
            return _read_key(config.engine_api_key_file, "ALTO_ENGINE_API_KEY_FILE")
        return config.engine_api_key.get_secret_value().strip() or None if config.engine_api_key else None


def cards(config: Settings) -> dict[str, Card]:
    """The cards of all models that the settings name.

    Raises:
        ConfigError: the file cannot be read, or a field of it is wrong, naming the file, the model and the field.
    """
    found = {} if config.models_file is None else _from_file(config.models_file)
    return found | {name: of_engine(engine) for name, engine in config.models.items()}


def card_of(model: str, config: Settings) -> Card:
    """The card of one model.

    Raises:
        ConfigError: there is none; or as `cards`.
    """
    card = cards(config).get(model)
    if card is None:
        raise ConfigError(
            f"{SHORT}: it names no engine for model {model!r}; add {model}=ENGINE, or a card of that name to {FILE}; "
            f"an engine is one of: {FORMS}"
        )
    return card


def of_engine(engine: str, where: str = SHORT) -> Card:
    """The card that says nothing but the engine. `where` it was named, for errors."""
    card = Card(engine=engine)
    card._where = where
    return card


def _from_file(path: Path) -> dict[str, Card]:
    try:
        document = yaml.load(path.read_text(), StrictLoader)  # noqa: S506  a SafeLoader that refuses duplicate keys
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE}: {path} cannot be read ({type(error).__name__})") from None
    except yaml.YAMLError as error:
        # Not its whole text, which quotes the line: there may be a key in it.
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{FILE}: {path} is no YAML{line} ({getattr(error, 'problem', None) or error})") from None
    try:
        found = _CARDS.validate_python(document or {})
    except ValidationError as error:
        raise ConfigError(f"{FILE}: {path}: {_said(error)}") from None
    return {name: _placed(card, path, name) for name, card in found.items()}


_CARDS = TypeAdapter(dict[str, Card])


def _placed(card: Card, path: Path, name: str) -> Card:
    """The card with its files made those beside the cards' own."""
    files = {
        field: path.parent / file
        for field in ("chat_template", "api_key_file")
        if (file := getattr(card, field)) is not None
    }
    card = card.model_copy(update=files)
    card._where = f"{FILE}: {path}: {name}"
    return card


def _said(error: ValidationError) -> str:
    """The first error, by the name of its field; never what was given, which may be a key."""
    first: Any = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields(first["loc"]))
        hint = f"; {_KEY_HINT}" if "key" in field.rpartition(".")[2] else ""
        return f"{field}: there is no such field{hint}; known: {known}"
    if field.endswith("api_key_env"):
        return f"{field}: it should be the name of an environment variable, in capitals; {_KEY_HINT}"
    text = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if first["type"] in ("dict_type", "model_type"):
        text = "expected `name: value` lines below it, such as engine: local"
    return f"{field}: {text}" if field else text


def _fields(loc: tuple[Any, ...]) -> list[str]:
    inner: dict[Any, type[_Strict]] = {"sampling": Sampling, "prices": Prices}
    return list(inner.get(loc[1] if len(loc) > 2 else "", Card).model_fields)


def _read_key(file: Path, where: str) -> str | None:
    try:
        return file.read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {file} cannot be read ({type(error).__name__})") from None
