"""From the words of `ALTO_MODELS` to engines."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from alto_streams.models import dialects
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import Engine
from alto_streams.models.scripted import Script, ScriptedEngine
from alto_streams.models.simulated import Timing
from alto_streams.records import Call
from alto_streams.settings import ConfigError, Settings

FORMS = (
    "openai:http://host:port/v1#model-name (with ?dialect=vllm, llama.cpp or openai before the # if detection fails), "
    "local, or scripted:FILE (with ?timing=reference for the reference engine's timing)"
)


def engine_for(target: str, config: Settings) -> Engine:
    """The engine that `target` names. Two models may name the same target; each gets an engine object of its own.

    Raises:
        ConfigError: the target has none of the accepted forms, or a file it needs cannot be read.
    """
    kind, _, rest = target.partition(":")
    if kind == "local" and not rest:
        return OpenAIEngine(
            config.local_engine, slots=config.engine_slots, silence_s=config.silence_s, dialect="llama.cpp"
        )
    if kind == "openai":
        return _openai(target, rest, config)
    if kind == "scripted" and rest:
        return _scripted(target, rest, config)
    raise _bad(target, "is no engine")


def script_of(path: Path, config: Settings) -> Script:
    """The recording in `path`, as the configured pipelines read it.

    A pipeline's module may have `script(path) -> Script`; the first pipeline that knows a call answers it.

    Raises:
        ConfigError: the file is missing, or no pipeline reads recordings.
    """
    if not path.is_file():
        raise ConfigError(f"ALTO_MODELS: scripted:{path}: no such file")
    readers = [getattr(importlib.import_module(name), "script", None) for name in config.pipelines]
    scripts: list[Script] = [reader(path) for reader in readers if reader is not None]
    if not scripts:
        raise ConfigError(
            f"ALTO_MODELS: scripted:{path}: none of the pipelines in ALTO_PIPELINES ({', '.join(config.pipelines)}) "
            "has a function script(path) that reads recordings"
        )

    def lookup(prompt_class: str, call: Call) -> str | Sequence[str] | None:
        found = (script(prompt_class, call) for script in scripts)
        return next((text for text in found if text is not None), None)

    return lookup


def _openai(target: str, rest: str, config: Settings) -> Engine:
    url = urlsplit(rest)
    query = parse_qs(url.query)
    told = query.pop("dialect", [None])[0]
    if url.scheme not in ("http", "https") or not url.hostname or query:
        raise _bad(_without_login(target), "names no HTTP address")
    if url.username or url.password:
        raise _bad(_without_login(target), "carries a login; give a key in ALTO_ENGINE_API_KEY_FILE instead")
    dialect = next((name for name in dialects.NAMES if name == told), None)
    if told is not None and dialect is None:
        raise _bad(target, f"names no dialect ({', '.join(dialects.NAMES)})")
    return OpenAIEngine(
        f"{url.scheme}://{url.netloc}{url.path}",
        url.fragment,
        slots=config.engine_slots,
        silence_s=config.silence_s,
        dialect=dialect,
        api_key=_api_key(config),
    )


def _scripted(target: str, rest: str, config: Settings) -> Engine:
    file, _, query = rest.partition("?")
    if query not in ("", "timing=none", "timing=reference"):
        raise _bad(target, "has an unknown timing")
    timing = Timing() if query == "timing=reference" else None
    script = script_of(Path(file), config)
    return ScriptedEngine(script, name=f"scripted {file}", slots=config.engine_slots, timing=timing)


def _api_key(config: Settings) -> str | None:
    """From the file, else from the setting; an empty one counts as none."""
    if config.engine_api_key_file is None:
        return config.engine_api_key.get_secret_value().strip() or None if config.engine_api_key else None
    try:
        return config.engine_api_key_file.read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"ALTO_ENGINE_API_KEY_FILE: {config.engine_api_key_file} cannot be read ({type(error).__name__})"
        ) from None


def _without_login(target: str) -> str:
    """The target without what stands before an @, which may be a password."""
    head, at, tail = target.rpartition("@")
    return f"openai:…@{tail}" if at and "//" in head else target


def _bad(target: str, what: str) -> ConfigError:
    return ConfigError(f"ALTO_MODELS: {target!r} {what}; accepted are: {FORMS}")
