"""Settings that are wrong are told before a command does anything: name, value, what is expected; never a secret."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alto_streams.cli import run_command
from alto_streams.cli.checks import check_settings, unknown_settings
from alto_streams.errors import ConfigError
from alto_streams.setting_errors import redacted
from alto_streams.settings import settings


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("ALTO_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ALTO_REDIS", "localhost", "ALTO_REDIS=localhost: expected redis://host:port/0"),
        ("ALTO_REDIS", "redis://", "ALTO_REDIS=redis://: expected redis://host:port/0"),
        ("ALTO_REDIS", "redis://h:99999/0", "ALTO_REDIS=redis://h:99999/0: expected redis://host:port/0"),
        ("ALTO_REDIS", "http://me:hidden@h/0", "ALTO_REDIS=http://h/0: expected redis://"),
        ("ALTO_BROKER", "", "ALTO_BROKER=: expected kafka://host:port"),
        ("ALTO_BROKER", "http://h:9092", "ALTO_BROKER=http://h:9092: expected kafka://host:port"),
        ("ALTO_BROKER", "kafka://a:1;kafka://b:x", "ALTO_BROKER=kafka://a:1;kafka://b:x: expected kafka://host:port"),
        ("ALTO_BROKER", "kafka://me:hidden@a:1;me:hidden@b:x", "ALTO_BROKER=kafka://a:1;b:x: expected"),
        (
            "ALTO_GATEWAY_PORT",
            "70000",
            "ALTO_GATEWAY_PORT=70000: expected a whole number from 0 to 65535; without it: 8600",
        ),
        ("ALTO_WORKER_PORT", "many", "ALTO_WORKER_PORT=many: expected a whole number from 0 to 65535"),
        ("ALTO_SILENCE_S", "-3", "ALTO_SILENCE_S=-3: expected a number above 0"),
        ("ALTO_SILENCE_S", "nan", "ALTO_SILENCE_S=nan: expected a number above 0"),
        ("ALTO_HORIZON_S", "inf", "ALTO_HORIZON_S=inf: expected a number that is not infinite"),
        ("ALTO_ENGINE_SLOTS", "0", "ALTO_ENGINE_SLOTS=0: expected a whole number from 1 to 4096"),
        ("ALTO_MAX_ATTEMPTS", "2.5", "ALTO_MAX_ATTEMPTS=2.5: expected a whole number of at least 1; without it: 4"),
        ("ALTO_HEARTBEAT_S", "10", "ALTO_HEARTBEAT_S=10: expected less than ALTO_SESSION_TIMEOUT_S, which is 10"),
        ("ALTO_POLICY", "random", "ALTO_POLICY=random: there is no such policy; known: round_robin"),
        ("ALTO_MODELS", "chat=foo:bar", "ALTO_MODELS=chat=foo:bar: is no engine; accepted are: openai:http"),
        ("ALTO_MODELS", "chat=opanai:http://h/v1", "is no engine; did you mean openai?"),
        ("ALTO_MODELS", "chat=local:x", "ALTO_MODELS=chat=local:x: is no engine"),
        ("ALTO_MODELS", "chat=openai:h:8000", "ALTO_MODELS=chat=openai:h:8000: names no HTTP address"),
        ("ALTO_MODELS", "chat=foo://me:hidden@h", "ALTO_MODELS=chat=openai:…@h: is no engine"),
        ("ALTO_MODELS", "chat", "ALTO_MODELS=chat: expected name=engine pairs separated by commas"),
    ],
)
def test_a_wrong_value(name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as told:
        check_settings()
    assert says in str(told.value)
    assert "hidden" not in str(told.value)
    assert "\n" not in str(told.value)


def test_each_wrong_value_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTO_REDIS", "localhost")
    monkeypatch.setenv("ALTO_GATEWAY_PORT", "-1")
    with pytest.raises(ConfigError) as told:
        check_settings()
    assert [line.partition("=")[0] for line in str(told.value).splitlines()] == ["ALTO_REDIS", "ALTO_GATEWAY_PORT"]


@pytest.mark.parametrize(
    "command",
    [
        ["ask", "x"],
        ["cancel", "x"],
        ["topics", "infer"],
        ["scheduler", "show"],
        ["dead-letters", "list"],
        ["engines", "list"],
        ["diff", "a", "b"],
        ["worker", "claims"],
        ["gateway"],
        ["up"],
        ["demo"],
    ],
)
def test_in_every_command(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALTO_MODELS", "judge=foo:bar")
    assert run_command(command) == 2
    assert "ALTO_MODELS=judge=foo:bar: is no engine" in capsys.readouterr().err


def test_unknown_names_are_told_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown_settings() == []
    monkeypatch.setenv("ALTO_GATEWAY_PROT", "1")
    monkeypatch.setenv("ALTO_XYZZY", "hidden")
    (tmp_path / ".env").write_text("ALTO_BROKERS=kafka://h:1\nOTHER=1\nALTO_REDIS=redis://h/0\n")
    assert unknown_settings() == [
        "ALTO_BROKERS is no setting, and is ignored; did you mean ALTO_BROKER?",
        "ALTO_GATEWAY_PROT is no setting, and is ignored; did you mean ALTO_GATEWAY_PORT?",
        "ALTO_XYZZY is no setting, and is ignored; nor is one named like it",
    ]


def test_a_key_that_a_card_names_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.yaml").write_text("chat: {engine: 'openai:http://h/v1', api_key_env: ALTO_MINE}")
    monkeypatch.setenv("ALTO_MODELS_FILE", "m.yaml")
    monkeypatch.setenv("ALTO_MINE", "sk-1")
    assert unknown_settings() == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://me:p@ss@h:1/0", "redis://h:1/0"),
        ("kafka://a:b@x:1;kafka://c:d@y:2", "kafka://x:1;kafka://y:2"),
        ("me:secret@h:9092", "h:9092"),
        ("kafka://h:9092", "kafka://h:9092"),
    ],
)
def test_what_may_be_shown_of_an_address(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_what_a_pipeline_brings_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTO_CORPUS", "texts")
    assert unknown_settings() == []
    monkeypatch.setenv("ALTO_CORPSU", "texts")
    assert [line.split()[0] for line in unknown_settings()] == ["ALTO_CORPSU"]
