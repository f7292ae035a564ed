"""`alto-streams engines`: the cards as they are shown, and an engine tried: one that works, and ones that do not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alto_streams.cli import run_command
from alto_streams.models.checks import Finding, check_engine
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import Engine
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.settings import settings
from tests.unit.engine_servers import FakeVllm, serving

GUIDES = ("choices", "grammar", "json_schema", "regex")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing but what a test sets."""
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()


@contextmanager
def served_aside(fake: FakeVllm) -> Iterator[str]:
    """The server in a thread of its own: the command under test runs its own event loop."""
    loop, address, over = asyncio.new_event_loop(), list[str](), asyncio.Event()
    is_up = threading.Event()

    async def serve() -> None:
        async with serving(fake.app()) as at:
            address.append(at)
            is_up.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert is_up.wait(60)
        yield address[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def found(engine: Engine) -> dict[str, Finding]:
    return {each.name: each async for each in check_engine(engine)}


def test_the_list_shows_cards_and_no_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.yaml").write_text(
        "chat:\n  engine: openai:http://me:hidden@h/v1#m\n  slots: 3\n  api_key_env: CHAT_KEY\n"
        "  prices: {prompt: 0.15, output: 0.6}\n  sampling: {temperature: 0.7}\n"
    )
    monkeypatch.setenv("ALTO_MODELS_FILE", "m.yaml")
    monkeypatch.setenv("CHAT_KEY", "sk-hidden")
    assert run_command(["engines", "list", "--json"]) == 0
    chat, judge = map(json.loads, capsys.readouterr().out.splitlines())
    assert (chat["model"], chat["engine"], chat["slots"], chat["key"]) == ("chat", "openai:…@h/v1#m", 3, "CHAT_KEY")
    assert chat["prices"] == {"prompt": 0.15, "output": 0.6, "currency": "USD"}
    assert (judge["engine"], judge["key"], chat["stages"]) == ("local", None, ["factcheck.answer"])
    monkeypatch.delenv("CHAT_KEY")
    assert run_command(["engines", "list"]) == 0
    told = capsys.readouterr().out
    assert "CHAT_KEY (not set)" in told
    assert "temperature 0.7" in told
    assert "hidden" not in told


async def test_the_local_engine_can_do_all(served: OpenAIEngine) -> None:
    tried = await found(served)
    assert {each.outcome for each in tried.values()} == {"ok"}, tried
    assert {"reach", "stream", "count", "load", "abort", "continues", "logprobs", *GUIDES} == set(tried)
    assert "token ids" in tried["continues"].detail
    assert " running, " in tried["load"].detail
    assert tried["stream"].seconds > 0


async def test_an_engine_that_ignores_a_constraint_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeVllm(others=3)  # it says what is recorded, but for choices
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        tried = await found(engine)
        await engine.close()
    assert {name: tried[name].outcome for name in ("reach", "stream", "abort", "choices")} == dict.fromkeys(
        ("reach", "stream", "abort", "choices"), "ok"
    )
    assert tried["grammar"].outcome == "failed"
    assert "does not keep to it" in tried["grammar"].detail
    assert tried["logprobs"].outcome == "ok"
    assert (tried["load"].outcome, tried["load"].detail) == ("ok", "3 running, 0 waiting, 0 % of the cache")
    assert fake.open == 0


async def test_what_an_engine_does_not_say_that_it_can_is_not_tried() -> None:
    fake = FakeVllm(owner="somebody")
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        tried = await found(engine)
        await engine.close()
    assert {tried[name].outcome for name in ("continues", "choices", "grammar", "regex", "count", "load")} == {"lacks"}
    assert "ALTO_REDO" in tried["continues"].detail
    assert not any("grammar" in body or "structured_outputs" in body for body in fake.bodies)


async def test_a_recording_is_only_reached() -> None:
    tried = await found(ScriptedEngine(lambda *_: None))
    assert {name: each.outcome for name, each in tried.items()} == {"reach": "ok", "stream": "lacks"}


@pytest.mark.parametrize(
    ("fault", "model", "said"),
    [
        ("", "nope", "serves m; correct the name after #"),
        ("key", "m", "refuses the API key"),
        (None, "m", "cannot be reached: is it started"),
    ],
)
def test_an_engine_that_cannot_be_used_says_why(
    fault: str | None,
    model: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = FakeVllm(fault=fault or "")
    with served_aside(fake) as address:
        target = "http://127.0.0.1:1/v1" if fault is None else address
        monkeypatch.setenv("ALTO_MODELS", f"judge=openai:{target}#{model}")
        monkeypatch.setenv("ALTO_ENGINE_API_KEY", "sk-hidden")
        assert run_command(["engines", "check", "judge", "--json"]) == 1
    out, err = capsys.readouterr()
    (reach,) = map(json.loads, out.splitlines())
    assert (reach["name"], reach["outcome"]) == ("reach", "failed")
    assert said in reach["detail"]
    assert "failed: reach" in err
    assert "hidden" not in out + err
    assert not fake.bodies


def test_the_local_engine_is_started_for_its_check(
    local_address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALTO_MODELS", "judge=local")
    assert run_command(["engines", "check", "judge"]) == 0
    out, err = capsys.readouterr()
    assert out.count(" ok ") == 11
    assert local_address not in err  # which names the one that was started
