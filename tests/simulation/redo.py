"""Worlds whose calls begin anew when they break, and whose models never say the same thing twice.

Every run of a stage with `broken="redo"` says something of its own, so whatever is left of a run that was withdrawn
shows. What a part's notes and its judgement must be follows from the texts that the client is left with.
"""

from __future__ import annotations

from typing import Any

import msgspec

from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.wire.records import Call, Cancel, encode
from alto_streams.wire.topic_names import home_topic
from tests.simulation.faults import Faults
from tests.simulation.script import MAX_TOKENS, Lines
from tests.simulation.world import World


class Question(Record, frozen=True):
    prompt: str


class Part(Record, frozen=True):
    text: str


class Fact(Record, frozen=True):
    text: str


class Note(Record, frozen=True):
    text: str


class Judged(Record, frozen=True):
    text: str


class Sum(Record, frozen=True):
    parts: dict[str, str]
    facts: dict[str, str]
    judged: dict[str, str]


redoing = Pipeline("redoing", request=Question)


def _prompt(text: str, item: Any) -> Prompt[Any]:
    return Prompt(fixed=[], variable=text, parse=Lines(item), max_tokens=MAX_TOKENS)


@redoing.generate(model="chat", show="text", broken="redo")
def parts(question: Question) -> Prompt[Part]:
    return _prompt(question.prompt, Part)


@redoing.generate(model="judge", broken="redo")
def facts(part: Part) -> Prompt[Fact]:
    return _prompt(part.text, Fact)


@redoing.map()
async def notes(fact: Fact) -> list[Note]:
    return [Note(text) for text in notes_of(fact.text)]


@redoing.generate(model="judge")
def judge(part: Part, found: Gather[Note]) -> Prompt[Judged]:
    return _prompt(asked(part.text, [note.text for note in found]), Judged)


@redoing.gather
def total(question: Question, parts: Gather[Part], facts: Gather[Fact], judged: Gather[Judged]) -> Sum:
    return Sum(*({path: item.text for path, item in found.items()} for found in (parts, facts, judged)))


_ = redoing.root


def notes_of(fact: str) -> list[str]:
    """None, one or two."""
    return [f"{fact}={n}" for n in range(sum(fact.encode()) % 3)]


def asked(part: str, found: list[str]) -> str:
    """What the judgement of a part is asked."""
    return f"{part}#{';'.join(found)}"


def judgement(part: str, found: list[str]) -> str:
    """What it says."""
    return "judged " + asked(part, found)


class RedoWorld(World):
    """One run of some requests of that pipeline. `cancels`: one item of a request is cancelled, with all below it."""

    pipeline = redoing

    def __init__(self, seed: int, faults: Faults, *, cancels: bool = False) -> None:
        super().__init__(seed, faults, cancels=cancels)
        self.said: dict[tuple[str, str], list[str]] = {}  # (stage, prompt) -> what each run was to say

    def expect_call(self, stage: str, call: Call, prefix: str, prefix_tokens: list[int] | None) -> str:
        """What this run says. Only a judgement is ever continued."""
        prompt, rng = call.messages[-1].content, self.rng
        if stage == "judge":
            whole = f"judged {prompt}\n"
            if not whole.startswith(prefix):
                raise self.violated(f"a judgement is to continue from {prefix!r}, which was never said")
            return whole
        if prefix:
            raise self.violated(f"{stage} is to continue from {prefix!r}, though its runs begin anew")
        runs = self.said.setdefault((stage, prompt), [])
        bad = [rng.random() < 0.06 for _ in range(rng.randint(int(self.faults.speaks), 3))]
        bad[:1] = [False] * len(bad[:1]) if self.faults.speaks else bad[:1]
        text = "".join(f"{'!' * is_bad}{prompt} {stage[0]}{n}v{len(runs)}\n" for n, is_bad in enumerate(bad))
        runs.append(text)
        return text

    def cancel(self) -> None:
        """One part, whether or not there is such a part by now."""
        request, self.to_cancel = self.to_cancel, None
        path = self.rng.choice(("0", "1", "0~1"))
        record = Cancel(request or "", path, stage="parts")
        self.tell(home_topic(redoing.name, redoing.root), record.request, encode(record))

    def question(self, prompt: str) -> bytes:
        return msgspec.json.encode(Question(prompt))
