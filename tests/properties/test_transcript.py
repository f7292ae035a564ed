"""What a client sees of a request does not depend on the order in which the events of different stages reach it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alto_streams.client import ClientEvent
from alto_streams.views.transcript import Transcript
from alto_streams.wire.paths import child_path
from alto_streams.wire.records import EventKind as Kind

Told = tuple[Kind, str, str, dict[str, Any]]


@dataclass
class Story:
    """The events of one request, by the home that tells them, in its order; and what must be left of them."""

    by_home: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    text: str = ""
    items: dict[tuple[str, str], str] = field(default_factory=dict)

    def take_back(self, stream: str, stages: tuple[str, ...], first: int, epoch: int) -> None:
        self.by_home[stages[0]].append(
            (Kind.RETRACTED, stages[0], stream, {"first": first, "epoch": epoch, "stages": list(stages)})
        )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """An answer, claims of its sentences and verdicts on them; answer and claims may break and be written anew."""
    story, epochs = Story(), draw(st.integers(0, 2))
    for epoch in range(epochs + 1):
        if epoch:
            story.take_back("", ("answer", "claims", "verdict"), 0, epoch)
        piece = f"text of epoch {epoch}. "
        story.by_home["answer"].append((Kind.CHUNK, "answer", "", {"text": piece}))
        for sentence in range(draw(st.integers(0, 2))):
            _claims(draw, story, child_path("", sentence, epoch), epoch == epochs)
        if epoch == epochs:
            story.text = piece
    return story


def _claims(draw: st.DrawFn, story: Story, stream: str, lives: bool) -> None:
    epochs = draw(st.integers(0, 1))
    for epoch in range(epochs + 1):
        if epoch:
            story.take_back(stream, ("claims", "verdict"), 0, epoch)
        for number in range(draw(st.integers(0, 2))):
            path = child_path(stream, number, epoch)
            verdict, cancelled = child_path(path, 0), draw(st.booleans())
            story.by_home["claims"].append((Kind.ITEM, "claims", path, {"value": path}))
            story.by_home["verdict"].append((Kind.ITEM, "verdict", verdict, {"value": verdict}))
            if cancelled:
                told = {"count": 0, "status": "cancelled", "cause": "by the client", "stages": ["verdict"]}
                story.by_home["report"].append((Kind.CLOSE, "claims", path, told))
            if lives and epoch == epochs:
                story.items["claims", path] = "cancelled" if cancelled else "ok"
                if not cancelled:
                    story.items["verdict", verdict] = "ok"


@given(stories(), st.randoms(use_true_random=False))
def test_the_order_of_the_homes_changes_nothing(story: Story, rng: Any) -> None:
    transcript, left = Transcript(), {home: list(told) for home, told in story.by_home.items()}
    number = 0
    while left := {home: told for home, told in left.items() if told}:
        kind, stage, path, body = left[rng.choice(sorted(left))].pop(0)
        transcript.hear(ClientEvent(number, kind, stage, path, number, 0, body), float(number))
        number += 1
    seen = {(item.stage, item.path): item.status for stage in ("claims", "verdict") for item in transcript.of(stage)}
    assert seen == story.items
    assert all(item.value == item.path for item in transcript.items.values() if item.value is not None)
    assert transcript.text == story.text
    assert transcript.speeches["answer", ""].beginnings == sum(
        kind is Kind.RETRACTED for kind, *_ in story.by_home["answer"]
    )
