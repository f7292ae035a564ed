"""A whole system on Apache Kafka whose engine server is killed under twenty requests, and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alto_streams.client import Client, ClientEvent
from alto_streams.define.parsers import Lines
from alto_streams.wire.records import EventKind
from loadtest.kafka import Unavailable
from loadtest.systems import Care, system
from tests.engines import stories
from tests.engines.subjects import FULL, Subject

THEMES = (
    *("a fox", "a lighthouse", "two brothers", "the first snow", "a lost key", "an old clock", "a talking horse"),
    *("the king of Spain", "a red balloon", "a ship at sea", "a wise teacher", "the moon", "a hungry bear"),
    *("a broken violin", "a garden in June", "three wishes", "a train to Paris", "the deepest well"),
    *("a girl who could fly", "a dragon without fire"),
)
AWAY_S = 2.0  # that the server is away at least, so that calls are tried while it is
PATIENCE_S = 200.0


@dataclass
class Heard:
    """What the client of one request has heard."""

    events: list[ClientEvent] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(event.body["text"] for event in self.events if event.kind is EventKind.CHUNK)

    @property
    def is_done(self) -> bool:
        return bool(self.events) and self.events[-1].kind is EventKind.DONE

    def check(self) -> None:
        """It is whole, in order, and nothing of it is told twice or taken back; its result is of just this text."""
        ids = [event.id for event in self.events]
        assert ids == sorted(set(ids))
        told = [(event.kind, event.stage, event.path, event.number) for event in self.events]
        assert len(set(told)) == len(told), told
        numbers = [event.number for event in self.events if event.kind is EventKind.CHUNK]
        assert numbers == list(range(len(numbers)))
        assert not [event for event in self.events if event.kind is EventKind.RETRACTED]
        assert [event.kind for event in self.events].count(EventKind.DONE) == 1
        end = self.events[-1].body
        assert (end["status"], end.get("cause")) == ("ok", None)
        parser = Lines(str)
        assert end["result"]["lines"] == [*parser.feed(self.text), *parser.close()]


async def hear(client: Client, theme: str, heard: Heard) -> None:
    """Ask for one story, and follow it to its end."""
    request = await client.submit("stories", {"about": theme})
    async for event in client.events(request):
        heard.events.append(event)


def asked(client: Client) -> tuple[list[Heard], asyncio.Future[list[None]]]:
    """All themes at once: what is heard, as it comes; and when all is."""
    all_heard = [Heard() for _ in THEMES]
    following = (hear(client, theme, heard) for theme, heard in zip(THEMES, all_heard, strict=True))
    return all_heard, asyncio.gather(*following)


def amid(all_heard: Sequence[Heard], undisturbed: Sequence[str]) -> int:
    """How many stories are a quarter told at least, and not yet at their end."""
    pairs = zip(all_heard, undisturbed, strict=True)
    return sum(len(text) / 4 <= len(heard.text) < len(text) and not heard.is_done for heard, text in pairs)


async def test_its_server_killed_under_20_requests_and_started_again(served: Subject, tmp_path: Path) -> None:
    if not FULL:
        pytest.skip("takes minutes: only where ALTO_TEST_ENGINES names the engine")
    assert served.server is not None
    assert served.running is not None
    slots = served.engine.capabilities.slots
    models = {stories.MODEL: f"openai:{served.server.root}/v1"}
    try:
        whole = system(
            tmp_path, "tests.engines.stories", models, Care(partitions=2), workers=1, engine_slots=slots, silence_s=60.0
        )
        async with whole as started, Client([started.gateway], give_up_s=60) as client:
            all_heard, ended = asked(client)
            async with asyncio.timeout(PATIENCE_S):
                await ended
            undisturbed = [heard.text for heard in all_heard]
            assert len(set(undisturbed)) == len(THEMES)  # or nobody could tell whose is whose

            all_heard, ended = asked(client)
            async with asyncio.timeout(PATIENCE_S):
                while amid(all_heard, undisturbed) < slots // 2:  # noqa: ASYNC110 - it is written by other processes
                    await asyncio.sleep(0.01)
                running = await served.running()
            served.server.kill()
            broken = amid(all_heard, undisturbed)
            await asyncio.sleep(AWAY_S)
            assert not ended.done()
            await asyncio.to_thread(served.server.start)
            async with asyncio.timeout(PATIENCE_S):
                await ended
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka: {missing}")
    for heard in all_heard:
        heard.check()
    others = [
        (theme, text, heard.text)
        for theme, text, heard in zip(THEMES, undisturbed, all_heard, strict=True)
        if text != heard.text
    ]
    print(f"\n{served.name}: {len(all_heard)} complete; {running} ran and {broken} were amid their text when it died;")
    print(f"{len(others)} read otherwise than undisturbed: {others}")
    assert min(running, broken) >= slots // 2
    # What is mixed or doubled is another text. A batch of another size may round otherwise, but seldom.
    assert len(others) <= 1
