"""From cards to engines: the forms of an engine, recordings, and the key."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from alto_streams.errors import CallRejected, ConfigError
from alto_streams.models.cards import SLOTS, Card
from alto_streams.models.kinds import KINDS
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.registry import BUILDERS, engine_for
from alto_streams.models.scripted import ScriptedEngine, script_parts
from alto_streams.models.simulated import token_count
from alto_streams.settings import Settings
from alto_streams.wire.records import Call, Message
from tests.unit.engine_servers import FakeVllm, serving


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Settings]:
    """A file, and settings whose one pipeline reads it: every line is a subject, a tab and its text."""
    module = ModuleType("recorded_pipeline")

    def script(path: Path) -> object:
        texts = dict(line.split("\t") for line in path.read_text().splitlines())
        return lambda prompt_class, call: texts.get(call.subject)

    module.script = script  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recorded_pipeline", module)
    file = tmp_path / "texts.tsv"
    file.write_text("sun\tThe sun is a star.\n")
    return file, Settings(pipelines=["recorded_pipeline"])


def ask(subject: str = "sun", max_tokens: int = 99, **more: object) -> Call:
    return Call(messages=[Message("user", "words")], max_tokens=max_tokens, subject=subject, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("timing", ["", "?timing=none", "?timing=reference"])
async def test_plays_a_recording(recorded: tuple[Path, Settings], timing: str) -> None:
    file, config = recorded
    engine = engine_for(Card(engine=f"scripted:{file}{timing}"), config)
    assert isinstance(engine, ScriptedEngine)
    assert engine.capabilities.slots == (64 if timing.endswith("reference") else SLOTS)
    pieces = [piece async for piece in engine.generate(ask(), prompt_class="answer")]
    assert "".join(piece.text for piece in pieces) == "The sun is a star."
    assert len(pieces) == token_count("The sun is a star.")
    with pytest.raises(CallRejected, match="'answer'") as raised:
        await anext(aiter(engine.generate(ask("the user's words"), prompt_class="answer")))
    assert "words" not in str(raised.value)
    await engine.close()


async def test_reaches_a_server_with_a_key_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-1\n")
    fake = FakeVllm()
    async with serving(fake.app()) as address:
        engine = engine_for(Card(engine=f"openai:{address}#m"), Settings(engine_api_key_file=key))
        await engine.ready()
        assert fake.headers[0]["authorization"] == "Bearer sk-1"
        assert engine.name == f"engine {address} (m)"
        assert "sk-1" not in repr(Settings(engine_api_key_file=key, engine_api_key="sk-1"))  # type: ignore[arg-type]
        await engine.close()


async def test_local_and_a_told_dialect() -> None:
    for target in ("local", "openai:http://127.0.0.1:1/v1?dialect=vllm#m"):
        engine = engine_for(Card(engine=target), Settings())
        assert isinstance(engine, OpenAIEngine)
        await engine.close()


@pytest.mark.parametrize(
    "target",
    [
        "",
        "loca",
        "local:8",
        "openai",
        "openai:",
        "openai:127.0.0.1:8000",
        "openai:ftp://host/v1",
        "openai:http://host/v1?dialekt=vllm#m",
        "openai:http://host/v1?dialect=tgi#m",
        "openai:http://me:hidden@host/v1",
        "scripted:",
        "scripted:/nowhere?timing=fast",
    ],
)
def test_a_bad_target_names_the_setting_and_the_forms(target: str) -> None:
    with pytest.raises(ConfigError, match=r"ALTO_MODELS.*openai:http://host:port/v1#model-name.*scripted:FILE") as bad:
        engine_for(Card(engine=target), Settings())
    assert "hidden" not in str(bad.value)


def test_a_missing_recording_or_reader_or_key_is_named(recorded: tuple[Path, Settings], tmp_path: Path) -> None:
    file, config = recorded
    with pytest.raises(ConfigError, match="no such file"):
        engine_for(Card(engine=f"scripted:{tmp_path / 'none'}"), config)
    with pytest.raises(ConfigError, match=r"json.*script\(path\)"):
        engine_for(Card(engine=f"scripted:{file}"), Settings(pipelines=["json"]))
    with pytest.raises(ConfigError, match="ALTO_ENGINE_API_KEY_FILE"):
        engine_for(Card(engine="openai:http://127.0.0.1:1/v1"), Settings(engine_api_key_file=tmp_path / "none"))


def test_parts_are_cut_alike_wherever_a_run_begins() -> None:
    text = "The sun is a star.\nIt shines."
    whole, _ = script_parts(text, ask(), "", "answer")
    for count in range(len(whole) + 1):
        rest, finish = script_parts(text, ask(), "".join(whole[:count]), "answer")
        assert (rest, finish) == (whole[count:], "stop")
    assert "".join(script_parts(text, ask(), "The s", "answer")[0]) == text[5:]
    for at in range(1, len(text)):  # wherever its run broke off, within a token too: the call has tokens enough
        spent = next(n for n in range(1, len(whole) + 1) if len("".join(whole[:n])) >= at)
        rest, finish = script_parts(text, ask(max_tokens=max(1, len(whole) - spent)), text[:at], "answer")
        assert (text[:at] + "".join(rest), finish) == (text, "stop")
    assert script_parts(text, ask(max_tokens=2), "", "answer") == (whole[:2], "length")
    assert script_parts(text, ask(stop=["star"]), "The sun is a ", "answer") == ([], "stop")
    assert script_parts("", ask(), "", "answer") == ([], "stop")


def test_every_kind_of_engine_is_built() -> None:
    assert BUILDERS.keys() == KINDS.keys()


@pytest.mark.parametrize("most", [30, 40, 48, 60])
def test_a_run_that_goes_on_from_within_a_token_is_cut_where_an_undisturbed_one_is(most: int) -> None:
    """A line may end within a token, which its first run has spent: a query was cut elsewhere, and found other text."""
    line = "The blue color that we see is simply a result of the way light"
    text = f"{line}\n{line} interacts with the skin and the tissues beneath it The\n"
    whole, ended = script_parts(text, ask(max_tokens=most), "", "queries")
    for end in range(1, len("".join(whole)) + 1):
        spent = next(number for number in range(1, len(whole) + 1) if len("".join(whole[:number])) >= end)
        rest, then = script_parts(text, ask(max_tokens=most - spent), text[:end], "queries")
        if spent < most:
            assert (text[:end] + "".join(rest), then) == ("".join(whole), ended)
