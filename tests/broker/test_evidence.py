"""A run that went wrong keeps every record of every topic, what clients heard, and says where."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from alto_streams.client import ClientEvent
from alto_streams.parts import bootstrap_servers
from alto_streams.wire.records import EventKind
from loadtest import chaos_cli
from loadtest.chaos import Options
from loadtest.chaos_load import Asked
from loadtest.evidence import FIGURES, keep, kept_if_it_fails
from tests.broker.brokers import Server
from tests.broker.faust_apps import create_topics, unique


def asked() -> list[Asked]:
    heard = [(1.5, ClientEvent(7, EventKind.CHUNK, "answer", "", 0, 0, {"text": "Paris."}))]
    return [Asked(0, {"id": "one"}, 0.5, "r-1", 0.7, heard, None, "PartDown: away")]


async def test_all_of_it_is_kept(kafka: Server, tmp_path: Path) -> None:
    topic = unique("kept")
    await create_topics(kafka.url, 2, topic)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers(kafka.url)) as producer:
        for number in range(300):
            await producer.send(topic, b"%d" % number, key=b"k", partition=number % 2)
        await producer.send_and_wait(topic, None, key=b"\xff", partition=0)
    with pytest.raises(ZeroDivisionError):
        async with kept_if_it_fails(kafka.url, asked(), tmp_path):
            raise ZeroDivisionError
    rows = [json.loads(line) for line in (tmp_path / "topics" / f"{topic}.jsonl").read_text().splitlines()]
    assert {(row[1], row[2]) for row in rows} == {(0, at) for at in range(151)} | {(1, at) for at in range(150)}
    assert [row[3:] for row in rows if row[3] != "k"] == [["\\xff", None]]
    assert sorted(int(row[4]) for row in rows if row[4] is not None) == list(range(300))
    (client,) = [json.loads(line) for line in (tmp_path / "clients.jsonl").read_text().splitlines()]
    assert (client["request"], client["row"], client["trouble"]) == ("r-1", "one", "PartDown: away")
    assert client["heard"][0][0] == 1.5


async def test_nothing_is_kept_of_what_goes_well_or_of_a_broker_that_is_away(tmp_path: Path) -> None:
    async with kept_if_it_fails("kafka://127.0.0.1:1", asked(), tmp_path):
        pass
    assert not os.listdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with kept_if_it_fails("kafka://127.0.0.1:1", asked(), tmp_path):
            raise ZeroDivisionError


@pytest.mark.parametrize("outcome", ["clean", "not clean", "broken"])
def test_the_folder_of_a_run_stays_unless_it_was_clean(
    outcome: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places: list[Path] = []

    async def measure(options: Options, recording: Path, folder: Path, say: Any) -> dict[str, Any]:
        places.append(folder)
        (folder / "logs").mkdir()
        if outcome == "broken":
            raise chaos_cli.Broken("lm-chat did not come back")
        return {"clean": outcome == "clean"}

    monkeypatch.setattr(chaos_cli.run, "measure", measure)
    try:
        figures = chaos_cli._run("chaos", Options(), Path("unused"), None)
    except typer.Exit:
        figures = {}
    (place,) = places
    assert place.exists() == (outcome != "clean")
    assert (str(place) in capsys.readouterr().err) == (outcome != "clean")
    if outcome == "not clean":
        assert json.loads((place / FIGURES).read_text()) == figures == {"clean": False, "kept": str(place)}


async def test_a_broker_that_is_away_is_told_by_keep_itself(tmp_path: Path) -> None:
    with pytest.raises(KafkaError):
        await keep("kafka://127.0.0.1:1", asked(), tmp_path)
    assert (tmp_path / "clients.jsonl").exists(), "what can be kept without it is"
