"""Model cards: what a file may say, what its errors name, and that they never show a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from alto_streams.errors import ConfigError
from alto_streams.models.cards import card_of, cards
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.registry import engine_for, slots_of
from alto_streams.settings import Settings
from alto_streams.wire.records import Call, Message
from tests.unit.engine_servers import FakeVllm, serving

FULL = """
chat:
  engine: openai:{address}#m
  context_tokens: 300
  slots: 3
  sampling: {{temperature: 0.7, top_p: 0.9}}
  prices: {{prompt: 0.15, output: 0.6}}
  api_key_file: key
judge:
  engine: local
"""


def config(path: Path, text: str, **more: object) -> Settings:
    file = path / "models.yaml"
    file.write_text(text)
    return Settings(_env_file=None, models_file=file, **more)  # type: ignore[call-arg,arg-type]


async def test_all_that_a_card_says_reaches_the_server(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-card\n")
    fake = FakeVllm()
    async with serving(fake.app()) as address:
        given = config(tmp_path, FULL.format(address=address), engine_api_key="sk-of-all")
        card = card_of("chat", given)
        assert card.prices is not None
        assert (card.prices.prompt, card.prices.output, card.prices.cached) == (0.15, 0.6, None)
        engine = engine_for(card, given)
        assert isinstance(engine, OpenAIEngine)
        await engine.ready()
        assert (engine.capabilities.context_tokens, engine.capabilities.slots) == (300, 3)  # the server's own is 512
        for temperature in (None, 0.0):
            call = Call(messages=[Message("user", "x")], max_tokens=5, temperature=temperature)
            assert [piece async for piece in engine.generate(call)]
        await engine.close()
    assert [(body["temperature"], body["top_p"]) for body in fake.bodies] == [(0.7, 0.9), (0.0, 0.9)]
    assert {headers["authorization"] for headers in fake.headers} == {"Bearer sk-card"}


def test_without_a_card_greedy_and_eight_slots() -> None:
    given = Settings(_env_file=None, models={"chat": "openai:http://127.0.0.1:1/v1"})  # type: ignore[call-arg]
    card = card_of("chat", given)
    assert (slots_of(card, given), card.sampling.told()) == (8, {})
    assert slots_of(card, given.model_copy(update={"engine_slots": 5})) == 5


def test_what_the_variable_says_of_a_model_comes_before_the_file(tmp_path: Path) -> None:
    given = config(tmp_path, FULL.format(address="http://127.0.0.1:1/v1"), models={"chat": "local"})
    assert {name: card.engine for name, card in cards(given).items()} == {"chat": "local", "judge": "local"}
    assert card_of("chat", given).prices is None
    assert (card_of("chat", given).where, card_of("judge", given).where.split()[0]) == (
        "ALTO_MODELS",
        "ALTO_MODELS_FILE:",
    )
    with pytest.raises(
        ConfigError, match=r"no engine for model 'writer'; add writer=ENGINE, .*ALTO_MODELS_FILE; .*scripted:FILE"
    ):
        card_of("writer", given)


def test_a_key_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = config(tmp_path, "chat: {engine: 'openai:http://h/v1', api_key_env: ALTO_TEST_KEY}")
    with pytest.raises(ConfigError, match=r"models.yaml: chat.api_key_env: the environment has no ALTO_TEST_KEY"):
        engine_for(card_of("chat", given), given)
    monkeypatch.setenv("ALTO_TEST_KEY", "sk-1")
    assert card_of("chat", given).api_key(given) == "sk-1"
    assert "sk-1" not in repr(card_of("chat", given)) + repr(given)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("chat: {}", "chat.engine: Field required"),
        ("chat: local", "chat: expected `name: value` lines"),
        ("- chat", "expected `name: value` lines"),
        ("chat: {engine: local, slots: 0}", "chat.slots: should be greater than or equal to 1"),
        ("chat: {engine: local, sampling: {top_p: 2}}", "chat.sampling.top_p: should be less than or equal to 1"),
        (
            "chat: {engine: local, sampling: {topp: 2}}",
            "chat.sampling.topp: there is no such field; known: temperature,",
        ),
        ("chat: {engine: local, prices: {prompt: 1}}", "chat.prices.output: Field required"),
        ("chat: {engine: local, api_key_file: k}", "chat: engine local takes no key"),
        ("chat: {engine: 'openai:http://h/v1', chat_template: t}", "give it to the server"),
        ("chat: {engine: 'scripted:f', context_tokens: 999}", "chat: a recording has neither"),
        ("chat: {engine: 'openai:http://h/v1', api_key: sk-hidden}", "chat.api_key: .*api_key_env.*api_key_file"),
        ("chat: {engine: 'openai:http://h/v1', api_key_env: sk-hidden}", "chat.api_key_env: .*in capitals"),
        ("chat: {engine: 'openai:http://h/v1', api_key_env: [sk-hidden]}", "chat.api_key_env: .*in capitals"),
        ("chat: {engine: local}\nchat: {engine: local}", "stands twice"),
        ("chat:\n  api_key: sk-hidden: x", "no YAML in line 2"),
    ],
)
def test_errors_name_the_field_and_never_what_was_given(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"^ALTO_MODELS_FILE: .*models\.yaml.*{named}") as raised:
        cards(config(tmp_path, text))
    assert "hidden" not in str(raised.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ALTO_MODELS_FILE: .*none\.yaml cannot be read"):
        cards(Settings(_env_file=None, models_file=tmp_path / "none.yaml"))  # type: ignore[call-arg]
    given = config(tmp_path, "chat: {engine: 'openai:http://h/v1', api_key_file: none}")
    with pytest.raises(ConfigError, match=r"models\.yaml: chat\.api_key_file: .*none cannot be read"):
        engine_for(card_of("chat", given), given)
    given = config(tmp_path, "chat: {engine: 'openai:h/v1'}")
    with pytest.raises(ConfigError, match=r"models\.yaml: chat: 'openai:h/v1' names no HTTP address"):
        engine_for(card_of("chat", given), given)
