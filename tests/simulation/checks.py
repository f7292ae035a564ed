"""What must be true once a world has come to rest: what each client got, and what is left of its request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from alto_streams.wire.records import Event, EventKind, Status, decoder
from alto_streams.wire.topic_names import results_topic
from tests.simulation.faults import Violation
from tests.simulation.script import Script, pipeline
from tests.simulation.world import World

decode_event = decoder(Event)


class Client:
    """What one client has after the egress dropped duplicates: an event's number never falls behind for its path."""

    def __init__(self, request: str, events: Iterator[Event]) -> None:
        self.request, self.text, self.items = request, dict[tuple[str, str], str](), dict[tuple[str, str], object]()
        self.done, self.done_ms = list[dict[str, object]](), 0
        told: dict[tuple[str, str, str, int], Event] = {}
        heard: dict[tuple[str, str, str], int] = {}
        for event in events:
            place, identity = (event.stage, event.path), (event.kind, event.stage, event.path)
            first = told.setdefault((*identity, event.number), event)
            if first.body != event.body or (first.at_ms != event.at_ms and event.kind is not EventKind.ACCEPTED):
                raise Violation(f"{request}: two different events {event.kind} {event.number} at {place}")
            if event.number <= heard.get(identity, -1):
                continue
            if event.kind is EventKind.CHUNK and event.number != heard.get(identity, -1) + 1:
                raise Violation(f"{request}: text of {place} jumps to number {event.number}")
            heard[identity] = event.number
            body = msgspec.json.decode(event.body)
            if event.kind is EventKind.CHUNK:
                self.text[place] = self.text.get(place, "") + body["text"]
            elif event.kind is EventKind.ITEM:
                self.items[place] = self.value_of(body)
            elif event.kind is EventKind.DONE:
                self.done.append(body)
                self.done_ms = event.at_ms

    def value_of(self, body: dict[str, Any]) -> object:
        """What is kept of an item; None of a failed one."""
        return (body["value"] or {}).get("verdict")


def check(world: World, *, may_be_cancelled: frozenset[str] = frozenset()) -> None:
    """Raises `Violation` at the first thing that is wrong."""
    events = [decode_event(each.value) for each in world.log.all_of(results_topic(pipeline.name))]
    for request, script in world.scripts.items():
        client = Client(request, (e for e in events if e.request == request))
        if len(client.done) != 1:
            raise Violation(f"{request}: done {len(client.done)} times")
        world.done_ms = max(world.done_ms, client.done_ms)
        if client.done[0]["status"] == Status.OK:
            _check_whole(client, script)
        elif request not in may_be_cancelled:
            raise Violation(f"{request}: {client.done[0]}")
        else:
            _check_part(client, script)
    world.kept.check_memory()
    if world.faults.aftermath:
        world.kept.check_nothing_left()
    else:
        world.kept.check_markers()


def _check_whole(client: Client, script: Script) -> None:
    text = client.text.get(("answer", ""), "")
    if text != script.answer:
        raise Violation(f"{client.request}: the client read {text!r}, the model said {script.answer!r}")
    said = {path: v for (stage, path), v in client.items.items() if stage == "verdict" and v is not None}
    if said != script.verdicts:
        raise Violation(f"{client.request}: verdicts {said}, labels {script.verdicts}")
    expected = {"claims": script.claims, "verdicts": script.verdicts}
    result = client.done[0]["result"]
    if not isinstance(result, dict) or {k: result[k] for k in expected} != expected:
        raise Violation(f"{client.request}: reported {result}, expected {expected}")
    if not script.failures.keys() <= result["failures"].keys():
        raise Violation(f"{client.request}: failed leaves {result['failures']}, expected {script.failures}")


def _check_part(client: Client, script: Script) -> None:
    if not script.answer.startswith(client.text.get(("answer", ""), "")):
        raise Violation(f"{client.request}: the client of a cancelled request read what was never said")
    for (stage, path), verdict in client.items.items():
        if stage == "verdict" and verdict is not None and script.verdicts.get(path) != verdict:
            raise Violation(f"{client.request}: {path} was judged {verdict}")
