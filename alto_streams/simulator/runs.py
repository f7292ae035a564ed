"""What workers write: a work item's text, as its engine gets on with it, goes to the call's home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alto_streams.agents.lm.coalesce import Coalescer, Gathered
from alto_streams.agents.lm.run import QUIET_S
from alto_streams.errors import CallRejected
from alto_streams.models.protocol import Piece
from alto_streams.models.scripted import script_parts
from alto_streams.models.simulated import Job, token_count
from alto_streams.simulator.clock import Clock, Logs
from alto_streams.simulator.experiment import SimulatedSystem
from alto_streams.wire.records import Chunk, End, Status, Work, encode
from alto_streams.wire.resume import finished

MOST_TEXTS = 10_000


class Text(NamedTuple):
    """What a run writes, token by token, how it ends, and at which tokens its worker is told."""

    parts: list[str]
    ending: str
    marks: Sequence[int]


class Writer:
    """Says what a work item writes and costs, by the script; the same recording is cut once."""

    def __init__(self, system: SimulatedSystem) -> None:
        self._system = system
        self._texts: dict[tuple[object, ...], tuple[object, Text]] = {}

    def job(self, work: Work, prompt_class: str) -> tuple[Job, Text]:
        """Raises `CallRejected` where nothing is recorded."""
        ended = finished(work.call, work.prefix)
        text = Text([], ended or "stop", [])
        if ended is None:
            found = self._system.script(prompt_class, work.call)
            if found is None:
                raise CallRejected(f"nothing is recorded for this call of prompt class {prompt_class!r}")
            text = self._cut(found, work, prompt_class)
        fixed, own = self._system.lengths(prompt_class, work.call)
        own += token_count(work.prefix) if work.prefix else 0
        return Job(prompt_class, fixed, own, max(1, len(text.parts))), text

    def _cut(self, found: str | Sequence[str], work: Work, prompt_class: str) -> Text:
        call = work.call
        key = (id(found), work.prefix, work.flush, call.max_tokens, *call.stop)
        known, text = self._texts.get(key, (None, None))
        if text is None or known is not found:
            parts, ending = script_parts(found, call, work.prefix, prompt_class)
            text = Text(parts, ending, _marks(parts, work.flush))
            if len(self._texts) >= MOST_TEXTS:
                self._texts.clear()
            self._texts[key] = (found, text)
        return text


class SimulatedRun:
    """One run of one attempt: what a worker appends to the call's home."""

    def __init__(self, work: Work, name: str, job: Job | None, text: Text, clock: Clock, logs: Logs) -> None:
        self.job, self._work, self._text = job, work, text
        self._name, self._clock, self._logs = name, clock, logs
        self._coalescer = Coalescer(work.flush)
        self._done = self._seq = 0
        self._told_s = clock.now_s

    @property
    def output(self) -> int:
        """The tokens that it writes in all."""
        return len(self._text.parts)

    def reach(self, done: int, last: bool) -> Piece:
        """So many of its tokens are there, which are new since the last time; the last go with the end."""
        new = self._text.parts[self._done : done]
        piece = Piece("".join(new), count=len(new))
        if last:
            self._coalescer.hold(piece)
        elif new:
            self._add(piece)
        self._done = done
        return piece

    def look(self) -> None:
        """Tell the home that it goes on, if that has heard nothing for a while: a line is long, or the engine slow."""
        if self._clock.now_s - self._told_s > QUIET_S:
            self._chunk(Gathered(), None)

    def finish(self, refused: End | None = None) -> None:
        """It has ended; or it never began, since the engine refuses the call."""
        read = self.job.prefix + self.job.own if self.job else 0
        end = refused or End(Status.OK, self._text.ending, prompt_tokens=read, output_tokens=self.output)
        self._chunk(self._coalescer.rest(), end)

    def _add(self, piece: Piece) -> None:
        due = self._coalescer.add(piece, int(self._clock.now_s * 1000))
        if due is not None:
            self._chunk(due, None)

    def _chunk(self, held: Gathered, end: End | None) -> None:
        work = self._work
        where = (work.request, work.path, work.attempt, self._name, self._seq)
        self._seq += 1
        value = encode(Chunk(*where, held.text, held.count, held.tokens or None, held.logprobs or None, end))
        self._told_s = self._clock.now_s
        self._logs.append(work.home.topic, value, work.home.partition)


def _marks(parts: Sequence[str], flush: str) -> Sequence[int]:
    """The tokens that a worker is told of: where nothing but whole lines are published, the first, by which it knows
    how fast its engine is, and those that end a line; else every one."""
    ends = (n for n, part in enumerate(parts, 1) if n in (1, len(parts)) or "\n" in part)
    return [*ends] if flush == "line" else ()
