"""From model cards to engines."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from alto_streams.define.loading import load_pipelines, module_of
from alto_streams.errors import ConfigError
from alto_streams.models import dialects
from alto_streams.models.cards import SLOTS, Card
from alto_streams.models.kinds import FORMS, LOCAL, OPENAI, SCRIPTED, VLLM
from alto_streams.models.local import default_slots
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import Engine
from alto_streams.models.script_files import EXPECTED, is_script, read_script
from alto_streams.models.scripted import Script, ScriptedEngine
from alto_streams.models.simulated import Timing
from alto_streams.models.vllm import VllmEngine
from alto_streams.settings import Settings
from alto_streams.wire.records import Call


def engine_for(card: Card, config: Settings) -> Engine:
    """The engine that a card names. Two models may name the same one; each gets an engine object of its own.

    Raises:
        ConfigError: its engine has none of the accepted forms, or a file that it needs cannot be read.
    """
    rest = card.engine.partition(":")[2]
    build = BUILDERS.get(card.kind.name)
    if build is None or (not rest and card.engine != LOCAL.name):
        raise _bad(card, "is no engine")
    return build(card, rest, config)


def slots_of(card: Card, config: Settings) -> int:
    """How many calls the model's engine runs at once, as far as it is ours to say."""
    return card.slots or config.engine_slots or (default_slots() if card.kind.sized else SLOTS)


def script_of(path: Path, config: Settings) -> Script:
    """What engines write, from a script (docs/scripts.md) or from a recording that a configured pipeline reads.

    A pipeline's module may have `script(path) -> Script`; the first pipeline that knows a call answers it.

    Raises:
        ConfigError: the file is missing or malformed, or it is no script, and no pipeline reads recordings.
    """
    if not path.is_file():
        raise ConfigError(f"ALTO_MODELS: scripted:{path}: no such file")
    if is_script(path):
        return read_script(path, load_pipelines(config.pipelines).values())
    readers = [getattr(importlib.import_module(module_of(name)), "script", None) for name in config.pipelines]
    scripts: list[Script] = [reader(path) for reader in readers if reader is not None]
    if not scripts:
        raise ConfigError(
            f"ALTO_MODELS: scripted:{path}: it is no script, whose lines are such as {EXPECTED} (docs/scripts.md); and "
            f"none of the pipelines in ALTO_PIPELINES ({', '.join(config.pipelines)}) has a function script(path) that "
            "reads a recording of its own"
        )

    def lookup(prompt_class: str, call: Call) -> str | Sequence[str] | None:
        found = (script(prompt_class, call) for script in scripts)
        return next((text for text in found if text is not None), None)

    return lookup


def _local(card: Card, rest: str, config: Settings) -> Engine:
    if rest:
        raise _bad(card, "is no engine")
    return _server(config.local_engine, "", "llama.cpp", card, config)


def _openai(card: Card, rest: str, config: Settings) -> Engine:
    url = urlsplit(rest)
    query = parse_qs(url.query)
    told = query.pop("dialect", [None])[0]
    if url.scheme not in ("http", "https") or not url.hostname or query:
        raise _bad(card, "names no HTTP address")
    if url.username or url.password:
        raise _bad(card, "carries a login; give a key in ALTO_ENGINE_API_KEY_FILE or in a card instead")
    dialect = next((name for name in dialects.NAMES if name == told), None)
    if told is not None and dialect is None:
        raise _bad(card, f"names no dialect ({', '.join(dialects.NAMES)})")
    return _server(f"{url.scheme}://{url.netloc}{url.path}", url.fragment, dialect, card, config)


def _server(address: str, model: str, dialect: dialects.Name | None, card: Card, config: Settings) -> OpenAIEngine:
    return OpenAIEngine(
        address,
        model,
        slots=slots_of(card, config),
        silence_s=config.silence_s,
        dialect=dialect,
        api_key=card.api_key(config) if card.kind.keyed else None,
        context_tokens=card.context_tokens,
        sampling=card.sampling.told(),
    )


def _scripted(card: Card, rest: str, config: Settings) -> Engine:
    file, _, query = rest.partition("?")
    if query not in ("", "timing=none", "timing=reference"):
        raise _bad(card, "has an unknown timing")
    timing = Timing() if query == "timing=reference" else None
    script = script_of(Path(file), config)
    return ScriptedEngine(script, name=f"scripted {file}", slots=slots_of(card, config), timing=timing)


def _vllm(card: Card, rest: str, config: Settings) -> Engine:
    model, _, query = rest.partition("?")
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            f"{card.where}: {card.engine!r} needs vLLM where the worker runs: pip install vllm "
            "(docs/engines.md says how on a CPU); or name a server elsewhere: openai:http://host:port/v1#model-name"
        )
    if model.startswith(("/", ".")) and not Path(model).is_dir():
        raise ConfigError(f"{card.where}: {card.engine!r}: no such folder; give one with weights and a tokenizer")
    given = parse_qs(query, strict_parsing=bool(query))
    options = {name: _plain(values[-1]) for name, values in given.items()}
    return VllmEngine(
        model,
        slots=slots_of(card, config),
        silence_s=config.silence_s,
        context_tokens=card.context_tokens,
        sampling=card.sampling.told(),
        chat_template=_template(card),
        options=options,
    )


def _template(card: Card) -> str | None:
    try:
        return card.chat_template.read_text() if card.chat_template is not None else None
    except (OSError, UnicodeDecodeError) as error:
        what = type(error).__name__
        raise ConfigError(f"{card.where}.chat_template: {card.chat_template} cannot be read ({what})") from None


def _plain(text: str) -> object:
    """A value of an engine argument: JSON, else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _bad(card: Card, what: str) -> ConfigError:
    return ConfigError(f"{card.where}: {card.shown!r} {what}; accepted are: {FORMS}")


BUILDERS: dict[str, Callable[[Card, str, Settings], Engine]] = {
    LOCAL.name: _local,
    OPENAI.name: _openai,
    VLLM.name: _vllm,
    SCRIPTED.name: _scripted,
}
"""By kind: what makes an engine of a card, the rest of its name behind the colon, and the settings."""
