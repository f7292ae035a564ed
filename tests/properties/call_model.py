"""One call at its home, and a world that does its worst: runs that die, lose chunks, come twice or come back late.

The home is the real state machine. Every run writes a text of its own, so whatever is accepted shows where it came
from; the oracle knows what each run was to continue from, and allows nothing but the next piece of exactly that.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from alto_streams.tables.attempts import MAX_STARTS
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Arm, Instruction, Row, Run, Send, decode_row, encode_row
from alto_streams.tables.turns import At
from alto_streams.wire.records import (
    Child,
    Chunk,
    Context,
    End,
    HomeRecord,
    Raw,
    Request,
    Result,
    Start,
    Status,
    Timer,
    Work,
)
from tests.placing import Always
from tests.properties.call_runs import KINDS, MAX_TOKENS, PIPELINES, REQUEST_ID, Kind, Line, Try
from tests.properties.scope_model import Violation

SILENCE_MS = 1_000


class CallWorld:
    """One request to one stage. Every method is one move; each checks what must hold after every record."""

    def __init__(self, kind: Kind, rng: random.Random, *, max_attempts: int) -> None:
        self.kind, self._rng, self.max_attempts = kind, rng, max_attempts
        self._machine = StageMachine(PIPELINES[kind], "call", Always(), Limits(max_attempts, SILENCE_MS))
        self.row, self.now_ms, self.offset, self.said = Row(), 1_000, 0, list[Any]()
        self.work: dict[int, str] = {}  # attempt -> its prefix; a run that ends whole takes the item away
        self.runs, self.timers = list[Try](), list[Arm]()
        self.text = ""
        self.starts: dict[int, int] = {}
        self.children, self.closes, self.epoch = dict[int, str](), list[Any](), 0
        self.told = 0
        self._tell(Request(REQUEST_ID, kind, Raw(b'{"prompt":"why?"}'), Context()))

    @property
    def call(self) -> Any:
        return self.row.calls[""]

    # --- moves

    def deliver(self, pick: int) -> None:
        """A work item reaches a worker, for the first time or again."""
        if not self.work or len(self.runs) > 12:
            return
        attempt = sorted(self.work)[pick % len(self.work)]
        rng, name = self._rng, f"r{len(self.runs)}"
        ends = [End(Status.OK, "stop")] * 4 + [End(Status.FAILED, "error", "overloaded")]
        pieces = [f"{name}.{n}" + rng.choice(("", "\n", "\n")) for n in range(rng.randint(1, 6))]
        self.runs.append(Try(name, attempt, self.work[attempt], pieces, rng.choice(ends)))

    def say(self, pick: int) -> None:
        """A run appends its next record."""
        if open_runs := [run for run in self.runs if not run.over]:
            self._say(open_runs[pick % len(open_runs)])

    def lose(self, pick: int) -> None:
        """A chunk gets lost, and its run goes on."""
        if (open_runs := [run for run in self.runs if not run.over and run.at >= 0]) and self.kind != "map":
            run = open_runs[pick % len(open_runs)]
            run.at += 1
            self._finish(run)

    def die(self, pick: int) -> None:
        """A run dies; its work item will be delivered again."""
        if open_runs := [run for run in self.runs if not run.over]:
            open_runs[pick % len(open_runs)].dead = True

    def repeat(self, pick: int) -> None:
        """Any record is appended once more."""
        self._tell(self.said[pick % len(self.said)])

    def fire(self, pick: int) -> None:
        """A timer that was armed at any time fires."""
        if self.timers:
            armed = self.timers[-1 - pick % min(len(self.timers), 4)]
            if pick % 3 == 0:
                self.now_ms = max(self.now_ms, armed.at_ms)
            self._fire(armed)

    def change_owner(self) -> None:
        """Another worker takes over: what is in memory is gone, and so are the timers and the map functions."""
        self.row = decode_row(encode_row(self.row))
        self._machine.forget(REQUEST_ID)
        self.timers.clear()
        if self.kind == "map":
            self.work.clear()
        self._carry_out(self._machine.resume(self.row, REQUEST_ID, self._at()).asked)
        self.check_goes_on()

    # --- how it ends

    def settle(self) -> None:
        """From now on nothing is lost: whatever makes progress happens, and the call must come to its end."""
        for _ in range(40 * self.max_attempts):
            if self.call.closed:
                return self._check_end()
            self.check_goes_on()
            before = encode_row(self.row)
            self._go_on()
            if encode_row(self.row) == before:
                raise Violation("what should have made progress changed nothing")
        raise Violation("it does not end")

    def check_goes_on(self) -> None:
        """There is always something that can still happen which must bring the call on."""
        call = self.call
        if call.closed:
            return
        current = [t for t in self.timers if not t.due and (t.attempt, t.mark) == (call.attempt, call.mark)]
        if (call.run is not None or self.kind == "map") and not current:
            raise Violation("no timer is armed for an open run")
        if call.attempt not in self.work and not current:
            raise Violation(f"attempt {call.attempt} has neither a work item nor a timer: it is stuck")
        if self.kind == "within" and not any(t.due for t in self.timers):
            raise Violation("nothing keeps the time that the whole call has")

    def _go_on(self) -> None:
        call = self.call
        followed = [r for r in self.runs if r.name == call.run and not r.over and r.attempt == call.attempt]
        if followed and followed[0].at == call.seq:
            self._say(followed[0])
        elif call.run is None and call.attempt in self.work:
            prefix = self.work[call.attempt]
            self.runs.append(Try(f"r{len(self.runs)}", call.attempt, prefix, ["to the end\n"], End(Status.OK, "stop")))
            self._say(self.runs[-1])
        else:
            current = [t for t in self.timers if not t.due and (t.attempt, t.mark) == (call.attempt, call.mark)]
            self.now_ms = max(self.now_ms, current[0].at_ms)
            self._fire(current[0])

    # --- the log

    def _say(self, run: Try) -> None:
        if self.kind == "map":
            children = [Child(Raw(msgspec.json.encode(Line(piece)))) for piece in run.pieces]
            run.at = len(run.pieces)
            self._tell(Result(REQUEST_ID, "", run.attempt, run.name, children, run.end.status, run.end.cause), run)
        else:
            record, at = run.next(), run.at
            run.at += 1
            self._finish(run)
            self._tell(record, run, at)

    def _finish(self, run: Try) -> None:
        if run.at >= len(run.pieces):
            self.work.pop(run.attempt, None)  # acknowledged: it has said all it had to say

    def _fire(self, armed: Arm) -> None:
        self._tell(Timer(REQUEST_ID, armed.path, armed.attempt, armed.mark, due=armed.due))

    def _at(self) -> At:
        self.offset += 1
        self.now_ms += 1
        return At("home", 0, self.offset, self.now_ms)

    def _tell(self, record: HomeRecord, run: Try | None = None, at: int = -1) -> None:
        self.told += 1
        self.said.append(record)
        known = self.row.calls.get("")
        was = None if known is None else (known.closed, known.attempt, known.run, self.text)
        out = self._machine.apply(self.row, record, self._at()).asked
        self._carry_out(out)
        if was is not None:
            self._check(record, was, out)
        self.check_goes_on()

    def _carry_out(self, out: list[Instruction]) -> None:
        for each in out:
            if isinstance(each, Arm):
                self.timers.append(each)
            elif isinstance(each, Run):
                self.work[each.attempt] = ""
            else:
                self._sent(each)

    def _sent(self, send: Send) -> None:
        record = msgspec.json.decode(send.record)
        match record["type"]:
            case "work":
                work = msgspec.json.decode(send.record, type=Work)
                if work.prefix != self.text or work.attempt != self.call.attempt:
                    raise Violation(f"attempt {work.attempt} is to continue {work.prefix!r} where {self.text!r} stands")
                if work.call.max_tokens != MAX_TOKENS - self.call.spent:
                    raise Violation("the tokens that are left are counted wrongly")
                self.work[work.attempt] = work.prefix
            case "event" if record["kind"] == "chunk":
                self.text += record["body"]["text"]
            case "event" if record["kind"] == "retracted":
                self.text = ""
            case "ended":
                self.work = {attempt: p for attempt, p in self.work.items() if attempt > record["attempt"]}
            case "items":
                self._items(record)

    def _items(self, record: dict[str, Any]) -> None:
        epoch, first = record.get("epoch", 0), record.get("first", 0)
        if epoch > self.epoch:
            self.children, self.epoch = {}, epoch
        if epoch < self.epoch or first != len(self.children):
            raise Violation(f"children from {first} of epoch {epoch}, after {len(self.children)} of {self.epoch}")
        for child in record.get("children", []):
            self.children[len(self.children)] = child["value"]["text"]
        if "close" in record:
            self.closes.append(record["close"])

    # --- what must hold

    def _check(self, record: Any, was: tuple[bool, int, str | None, str], out: list[Instruction]) -> None:
        was_closed, attempt, followed, text = was
        call = self.call
        if was_closed and (self.text != text or not call.closed or any(isinstance(o, Arm | Run) for o in out)):
            raise Violation(f"{type(record).__name__} changed a call that was closed")
        if len(self.closes) > 1 or call.closed != bool(self.closes):
            raise Violation(f"closed {len(self.closes)} times")
        if call.attempt < attempt or call.attempt > self.max_attempts:
            raise Violation(f"attempt {call.attempt} after {attempt}, of at most {self.max_attempts}")
        if isinstance(record, Start) and not was_closed and not call.closed:
            self._check_start(record, attempt)
        if call.run not in (followed, None):
            self.starts[call.attempt] = self.starts.get(call.attempt, 0) + 1
            if self.starts[call.attempt] > MAX_STARTS:
                raise Violation(f"{self.starts[call.attempt]} runs of attempt {call.attempt} were followed")
        if self.kind != "map" and not call.closed and call.text != self.text:
            raise Violation(f"{call.text!r} is accepted, {self.text!r} was shown")
        if self.kind != "map" and self.text != text:
            self._check_text(record, text)

    def _check_start(self, start: Start, attempt: int) -> None:
        call = self.call
        if call.run is not None and self._run(call.run).attempt != call.attempt:
            raise Violation(f"a run of another attempt than {call.attempt} is followed")
        if start.attempt == attempt and call.run != start.run and call.attempt == attempt:
            raise Violation("the start of another run of the open attempt changed nothing")

    def _run(self, name: str) -> Try:
        return next(run for run in self.runs if run.name == name)

    def _check_text(self, record: Any, text: str) -> None:
        if not self.text and self.kind == "redo":
            return
        if not isinstance(record, Chunk):
            raise Violation(f"{type(record).__name__} changed the text")
        run = self._run(record.run)
        before = run.prefix + "".join(run.pieces[: record.seq])
        if text != before or self.text != text + run.pieces[record.seq]:
            raise Violation(f"{text!r} became {self.text!r}, by piece {record.seq} of a run that continues {before!r}")

    def _check_end(self) -> None:
        close, found = self.closes[0], [self.children[n] for n in range(len(self.children))]
        if close["count"] != len(found):
            raise Violation(f"closed with {close['count']} children, told {len(found)}")
        if self.kind == "map":
            if found not in [run.pieces for run in self.runs] and found:
                raise Violation(f"{found} is no run's result")
            return
        lines = self.text.split("\n")
        whole = [line for line in lines if line] if close.get("status", "ok") == "ok" else lines[:-1]
        if found != whole:
            raise Violation(f"children {found} of the text {self.text!r}")


MOVES: dict[str, int] = {"deliver": 4, "say": 14, "lose": 1, "die": 2, "repeat": 3, "fire": 3, "change_owner": 1}
_NAMES = [name for name, weight in MOVES.items() for _ in range(weight)]


def run(seed: int) -> int:
    """One interleaving: one call from its beginning to its end. Returns how many records its home was told."""
    rng = random.Random(seed)
    world = CallWorld(KINDS[seed % len(KINDS)], rng, max_attempts=rng.choice((1, 2, 3, 6)))
    rand = rng.random
    for _ in range(rng.randint(5, 45)):
        name = _NAMES[int(rand() * len(_NAMES))]
        if name == "change_owner":
            world.change_owner()
        else:
            getattr(world, name)(int(rand() * 1_000))
    world.settle()
    for _ in range(3):
        world.repeat(int(rand() * 1_000))
    return world.told
