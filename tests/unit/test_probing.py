"""Before it starts, `up` asks the engines of all models: who is away and why, and who cannot continue a broken call."""

from __future__ import annotations

import asyncio

import pytest

from alto_streams.local.probing import probe
from alto_streams.pipelines.factcheck import pipeline as factcheck
from alto_streams.settings import Settings
from alto_streams.worker.tcp_ports import free_ports
from tests.unit.engine_servers import FakeVllm, serving


def settings_for(**more: object) -> Settings:
    return Settings(_env_file=None, **more)  # type: ignore[call-arg,arg-type]


def models(**ports: int) -> dict[str, str]:
    return {name: f"openai:http://127.0.0.1:{port}/v1#m" for name, port in ports.items()}


async def test_stages_of_all_models_are_told_at_once() -> None:
    chat, judge = free_ports(2)
    async with serving(FakeVllm(owner="plain").app(), chat), serving(FakeVllm(owner="plain").app(), judge):
        found = await asyncio.to_thread(probe, settings_for(models=models(chat=chat, judge=judge)), [factcheck])
    assert found.redo == {
        "chat": ["factcheck.answer"],
        "judge": [f"factcheck.{stage}" for stage in factcheck.models()["judge"]],
    }
    (line,) = found.lines(redoes=False)
    assert "ALTO_REDO=factcheck.answer,factcheck.claims" in line or "ALTO_REDO=factcheck.claims" in line


async def test_what_is_redone_already_is_not_told_again() -> None:
    (chat,) = free_ports(1)
    async with serving(FakeVllm(owner="plain").app(), chat):
        found = await asyncio.to_thread(
            probe, settings_for(models=models(chat=chat), redo=["factcheck.answer"]), [factcheck]
        )
    assert found.lines(redoes=False) == []


async def test_an_engine_that_continues_is_not_told() -> None:
    (chat,) = free_ports(1)
    async with serving(FakeVllm().app(), chat):
        found = await asyncio.to_thread(probe, settings_for(models=models(chat=chat)), [factcheck])
    assert found.lines(redoes=False) == []


@pytest.mark.parametrize("redoes", [False, True])
async def test_engines_that_are_away_are_told_with_the_reason(redoes: bool) -> None:
    nobody, refusing = free_ports(2)
    async with serving(FakeVllm(fault="key").app(), refusing):
        found = await asyncio.to_thread(probe, settings_for(models=models(chat=nobody, judge=refusing)), [factcheck])
    lines = found.lines(redoes=redoes)
    assert f"model chat: engine http://127.0.0.1:{nobody}/v1" in lines[0]
    assert "cannot be reached" in lines[0]
    assert f"http://127.0.0.1:{refusing}/v1" in lines[1]
    assert "401" in lines[1]
    assert "ALTO_ENGINE_API_KEY_FILE" in lines[1]
    assert ["--redo" in line for line in lines[2:]] == ([] if redoes else [True])
    assert set(found.unknown) == {"chat", "judge"}


@pytest.mark.parametrize("engine", ["local", "scripted:none.jsonl"])
def test_engines_that_up_starts_or_plays_are_not_asked(engine: str) -> None:
    assert probe(settings_for(models={"chat": engine, "judge": engine}), [factcheck]).lines(redoes=False) == []
