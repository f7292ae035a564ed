"""What the clients heard against what was recorded: lost, duplicated, conflicting, wrong. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from alto_streams.client import ClientEvent
from alto_streams.pipelines.factcheck import PASSAGES_PER_QUERY, script
from alto_streams.pipelines.factcheck.search import Search
from alto_streams.wire.records import Call, EventKind
from loadtest.chaos_load import Asked, Row


class Tally(msgspec.Struct):
    """How often each thing went wrong, over all requests; `details` says where, bounded.

    lost: no DONE, or a piece of the answer, a claim, a verdict or its place in the report is missing.
    duplicated: an event's id, or its identity (kind, stage, path, number), reached a client twice; a claim, a verdict.
    conflicting: an answer differs from the recording, or one place has had two contents.
    wrong_verdicts: a verdict is not its claim's label, or is there where the recorded one cannot be parsed.
    wrong_evidence: a claim has other passages than its own.
    gathers_twice: a request has ended twice.
    """

    lost: int = 0
    duplicated: int = 0
    conflicting: int = 0
    wrong_verdicts: int = 0
    wrong_evidence: int = 0
    gathers_twice: int = 0
    retracted: int = 0
    details: list[str] = []

    MOST_DETAILS = 40

    def note(self, kind: str, where: str, count: int = 1) -> None:
        """Count something that went wrong."""
        setattr(self, kind, getattr(self, kind) + count)
        if len(self.details) < self.MOST_DETAILS:
            self.details.append(f"{kind}: {where}")

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong (a retraction is none, as long as the rest is right)."""
        return not any(
            (self.lost, self.duplicated, self.conflicting, self.wrong_verdicts, self.wrong_evidence, self.gathers_twice)
        )


class Checker:
    """Knows what the recording says."""

    def __init__(self, recorded: Path) -> None:
        self._script, self._search = script(recorded), Search()
        self._evidence: dict[str, set[tuple[str, str]]] = {}

    def check(self, asked: Sequence[Asked], tally: Tally) -> None:
        """Counts what went wrong."""
        for each in asked:
            self._one(each, tally)

    def _one(self, asked: Asked, tally: Tally) -> None:
        where = f"request {asked.id or asked.number} ({asked.row['id']})"
        events = _once(asked.heard, where, tally)
        done = [event for event in events if event.kind is EventKind.DONE]
        tally.retracted += sum(event.kind is EventKind.RETRACTED for event in events)
        if len(done) > 1:
            tally.note("gathers_twice", where)
        if not done:
            tally.note("lost", f"{where}: no DONE; {asked.trouble or 'no trouble was told'}")
            return
        body = done[0].body
        if body.get("status") != "ok":
            tally.note("lost", f"{where}: ended {body.get('status')}: {body.get('cause')}")
            return
        text = "".join(event.body["text"] for event in events if event.kind is EventKind.CHUNK)
        if text != asked.row["response"]:
            kind = "lost" if len(text) < len(asked.row["response"]) else "conflicting"
            tally.note(kind, f"{where}: {len(text)} characters of answer, {len(asked.row['response'])} are recorded")
        self._items(asked.row, events, where, tally)
        self._report(asked.row, body["result"]["claims"], where, tally)

    def _items(self, row: Row, events: Sequence[ClientEvent], where: str, tally: Tally) -> None:
        items = [event for event in events if event.kind is EventKind.ITEM]
        wanted = Counter(each["claim"] for each in row["claims"])
        wanted[None] = len(row.get("broken_lines", ()))  # each is a failed item, without a value
        claims = Counter((each.body.get("value") or {}).get("claim") for each in items if each.stage == "claims")
        judged = sum(each.stage == "verdict" for each in items)
        verdicts = len(row["claims"])  # one whose recording does not parse is a failed item
        counts = {
            "lost": ((wanted - claims).total(), max(0, verdicts - judged)),
            "duplicated": ((claims - wanted).total(), max(0, judged - verdicts)),
        }
        for kind, (of_claims, of_verdicts) in counts.items():
            if of_claims or of_verdicts:
                tally.note(kind, f"{where}: {of_claims} claims and {of_verdicts} verdicts", of_claims + of_verdicts)

    def _report(self, row: Row, found: Sequence[dict[str, Any]], where: str, tally: Tally) -> None:
        wanted = [each["claim"] for each in row["claims"]]
        have = [each["claim"] for each in found]
        if have != wanted:
            kind = "lost" if len(have) < len(wanted) else "duplicated" if len(have) > len(wanted) else "conflicting"
            tally.note(kind, f"{where}: the report has {len(have)} claims, {len(wanted)} are recorded")
            return
        for each, label in zip(found, row["claims"], strict=True):
            if each["verdict"] is None and label["label"] is not None:
                tally.note("lost", f"{where}: a claim has no verdict: {each['cause']}")
            elif each["verdict"] is not label["label"]:
                tally.note("wrong_verdicts", where)
            if label["label"] is None:
                continue  # the evidence comes with the verdict
            passages = [(passage["source"], passage["text"]) for passage in each["evidence"]]
            if set(passages) != self._own(each["claim"]) or len(passages) != len(set(passages)):
                tally.note("wrong_evidence", where)

    def _own(self, claim: str) -> set[tuple[str, str]]:
        if claim not in self._evidence:
            queries = self._script("factcheck.queries", Call([], 1, subject=claim)) or ""
            self._evidence[claim] = {
                (passage.source, passage.text)
                for query in queries.splitlines()
                for passage in self._search.search_nowait(query, PASSAGES_PER_QUERY)
            }
        return self._evidence[claim]


def _once(heard: Sequence[tuple[float, ClientEvent]], where: str, tally: Tally) -> list[ClientEvent]:
    """The events without those that came twice, which are counted."""
    ids: set[int] = set()
    bodies: dict[tuple[str, str, str, int], Any] = {}
    events: list[ClientEvent] = []
    for _, event in heard:
        identity = (event.kind, event.stage, event.path, event.number)
        if event.id in ids or identity in bodies:
            tally.note("duplicated", f"{where}: {' '.join(map(str, identity))} at {event.id}")
            if bodies.get(identity, event.body) != event.body:
                tally.note("conflicting", f"{where}: {' '.join(map(str, identity))} has two contents")
            continue
        if events and event.id < events[-1].id:
            tally.note("conflicting", f"{where}: event {event.id} after {events[-1].id}")
        ids.add(event.id)
        bodies[identity] = event.body
        events.append(event)
    return events
