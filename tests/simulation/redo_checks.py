"""What must be true where calls begin anew: nothing that a client is left with comes from a run that was withdrawn."""

from __future__ import annotations

from typing import Any

import msgspec

from alto_streams.wire.paths import is_under, parse_path
from alto_streams.wire.records import Event, EventKind, decoder
from alto_streams.wire.topic_names import results_topic
from tests.simulation.checks import Client
from tests.simulation.faults import Violation
from tests.simulation.redo import RedoWorld, judgement, notes_of

decode_event = decoder(Event)


def is_gone(stage: str, path: str, cut: Event, body: dict[str, Any]) -> bool:
    """Whether an item was withdrawn by this event."""
    levels, depth = parse_path(path), len(parse_path(cut.path))
    if not (stage == cut.stage or stage in body["stages"]) or not is_under(path, cut.path) or len(levels) <= depth:
        return False
    return levels[depth].nth >= body["first"] and levels[depth].epoch < body["epoch"]


class RedoClient(Client):
    """A client that honours `retracted` events: what it has left in the end, and which items were cancelled."""

    def __init__(self, request: str, events: list[Event]) -> None:
        super().__init__(request, iter(events))  # numbers without holes, no two events with one identity
        cuts = [(e, msgspec.json.decode(e.body)) for e in events if e.kind is EventKind.RETRACTED]
        self.items = {
            (stage, path): value
            for (stage, path), value in self.items.items()
            if not any(is_gone(stage, path, cut, body) for cut, body in cuts)
        }
        self.left, heard = "", -1
        epochs = set[int]()
        for event in events:
            if event.stage == "parts" and event.kind is EventKind.RETRACTED and event.number not in epochs:
                epochs.add(event.number)
                self.left = ""
            elif event.stage == "parts" and event.kind is EventKind.CHUNK and event.number > heard:
                heard = event.number
                self.left += msgspec.json.decode(event.body)["text"]
        closes = [(e.stage, e.path, msgspec.json.decode(e.body)) for e in events if e.kind is EventKind.CLOSE]
        self.cancelled = {
            path for stage, path, body in closes if stage == "parts" and body.get("status") == "cancelled"
        }

    def value_of(self, body: dict[str, Any]) -> object:
        return (body["value"] or {}).get("text")

    def is_cancelled(self, path: str) -> bool:
        return any(is_under(path, scope) for scope in self.cancelled)


def check_redo(world: RedoWorld) -> None:
    """Raises `Violation` at the first thing that is wrong."""
    events = [decode_event(each.value or b"") for each in world.log.all_of(results_topic(world.pipeline.name))]
    for request, script in world.scripts.items():
        client = RedoClient(request, [event for event in events if event.request == request])
        if len(client.done) != 1 or client.done[0]["status"] != "ok":
            raise Violation(f"{request}: done {client.done}")
        world.done_ms = max(world.done_ms, client.done_ms)
        _check_request(world, client, script.prompt, client.done[0]["result"])
    world.kept.check_memory()
    if world.faults.aftermath:
        world.kept.check_nothing_left()
    else:
        world.kept.check_markers()


def _check_request(world: RedoWorld, client: RedoClient, prompt: str, result: Any) -> None:
    """The report, the client's view and the texts of single runs agree."""
    if client.left not in world.said["parts", prompt]:
        raise Violation(f"{client.request}: no run has said {client.left!r}")
    kept = {path: text for path, text in result["parts"].items() if not client.is_cancelled(path)}
    good = [(n, line) for n, line in enumerate(client.left.splitlines()) if not line.startswith("!")]
    expected = [line for n, line in good if not any(parse_path(p)[-1].nth == n for p in client.cancelled)]
    if [text for text in kept.values() if text in expected] != expected or not set(kept.values()) <= {
        x for _, x in good
    }:
        raise Violation(f"{client.request}: reported parts {kept}, the client reads {client.left!r}")
    for stage, key in (("facts", "facts"), ("judge", "judged")):
        seen = {
            p: v for (s, p), v in client.items.items() if s == stage and v is not None and not client.is_cancelled(p)
        }
        if seen != result[key]:
            raise Violation(f"{client.request}: {stage} reported {result[key]}, the client has {seen}")
    for path, part in kept.items():
        own = {p: fact for p, fact in result["facts"].items() if is_under(p, path)}
        runs = [[x for x in text.splitlines() if not x.startswith("!")] for text in world.said.get(("facts", part), [])]
        if list(own.values()) not in runs:
            raise Violation(f"{client.request}: {path} has the facts {own}, its runs said {runs}")
        found = [note for fact in own.values() for note in notes_of(fact)]
        judged = [text for p, text in result["judged"].items() if is_under(p, path)]
        if judged != [judgement(part, found)]:
            raise Violation(f"{client.request}: {path} was judged {judged}, expected {judgement(part, found)!r}")
    strays = [p for key in ("facts", "judged") for p in result[key] if not any(is_under(p, path) for path in kept)]
    if strays:
        raise Violation(f"{client.request}: {strays} belong to no part that is left")
