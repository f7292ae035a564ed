"""What is wrong with the settings of a command, told before it does anything."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable

from alto_streams.errors import ConfigError
from alto_streams.models.cards import SHORT, Card, cards
from alto_streams.models.kinds import FORMS, KINDS, LOCAL, OPENAI, kind_of
from alto_streams.scheduler.policies import POLICIES
from alto_streams.setting_errors import has_host
from alto_streams.settings import ENV_FILE, PREFIX, Settings, settings

NEAR = 0.6  # how like two names are, as difflib counts
OURS = {"ALTO_VLLM_PARENT"}  # from one of our processes to another; no setting


def check_settings() -> None:
    """Reads all settings, so that no command begins with a wrong one.

    Raises:
        ConfigError: a setting is wrong; one line for each, with the value and what is expected.
    """
    config = settings()
    for name, card in cards(config).items():
        check_engine(name, card)
    if config.policy not in POLICIES:
        raise ConfigError(f"{PREFIX}POLICY={config.policy}: there is no such policy; known: {', '.join(POLICIES)}")


def check_engine(model: str, card: Card) -> None:
    """Raises `ConfigError` if a card's engine has none of the accepted forms."""
    kind, rest = kind_of(card.engine), card.engine.partition(":")[2]
    where = f"{SHORT}={model}={card.shown}" if card.where == SHORT else f"{card.where}.engine: {card.shown}"
    if kind.name not in KINDS or bool(rest) == (kind is LOCAL):
        near = difflib.get_close_matches(card.engine.partition(":")[0], KINDS, 1, NEAR)
        hint = f"did you mean {near[0]}? " if near and near[0] != kind.name else ""
        raise ConfigError(f"{where}: is no engine; {hint}accepted are: {FORMS}")
    if kind is OPENAI and not (rest.startswith(("http://", "https://")) and has_host(rest)):
        raise ConfigError(f"{where}: names no HTTP address; expected {OPENAI.form}")


def unknown_settings() -> list[str]:
    """One line for each name that looks like a setting and is none, with the setting that may have been meant.

    From the environment and the file `.env`; values are not shown.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = {name.upper() for name in (*os.environ, *_in_file()) if name.upper().startswith(PREFIX)}
    try:
        keys = {card.api_key_env for card in cards(settings()).values()}
    except ConfigError:
        keys = set()  # told elsewhere
    unknown = given - known - OURS - keys
    unknown -= _of_pipelines() if unknown else set()
    return [f"{name} is no setting, and is ignored; {_near(name, known)}" for name in sorted(unknown)]


def say_unknown() -> None:
    """Says it on standard error."""
    for line in unknown_settings():
        print(f"alto-streams: {line}", file=sys.stderr)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, NEAR)
    return f"did you mean {near[0]}?" if near else "nor is one named like it"


def _of_pipelines() -> set[str]:
    """The variables that pipelines bring with their folders, such as the fact check's ALTO_CORPUS."""
    from alto_streams.define.loading import load_pipelines
    from alto_streams.define.options import Folder

    try:
        pipelines = load_pipelines(settings().pipelines).values()
    except ConfigError:
        return set()  # told elsewhere
    return {each.variable for pipeline in pipelines for each in pipeline.options if isinstance(each, Folder)}


def _in_file() -> list[str]:
    from dotenv import dotenv_values

    try:
        return list(dotenv_values(ENV_FILE))
    except (OSError, UnicodeDecodeError):
        return []
