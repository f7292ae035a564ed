"""A whole pipeline in memory: every stage's home, the queues between them, and workers that run what homes ask for.

Each sender's records reach each receiver in order; which queue moves next is drawn. Anything may be sent again (the
last ones after a crash, one record much later), runs die in the middle and come again, owners change, timers fire
early.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec

from alto_streams.define.topology import REQUEST
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Arm, Instruction, Row, Run, Send, decode_row, encode_row
from alto_streams.tables.turns import At
from alto_streams.wire.paths import child_path
from alto_streams.wire.records import (
    Cancel,
    Child,
    Chunk,
    Context,
    End,
    HomeRecord,
    Mode,
    Raw,
    Request,
    Result,
    Start,
    Status,
    Timer,
    Work,
    decoder,
)
from tests.placing import Always
from tests.properties.random_pipelines import Shape, fails, said
from tests.properties.scope_model import Violation

REQUEST_ID = "request-1"
MAX_ATTEMPTS, MAX_STEPS = 1_000, 20_000
STOP, REJECTED = End(Status.OK, "stop"), End(Status.FAILED, "rejected", "the engine refused")

decode_home, decode_work = decoder(HomeRecord), decoder(Work)  # type: ignore[arg-type,var-annotated]


@dataclass
class Stream:
    """What a home has told of one stream, in its present epoch. `attempt`: the one that wrote it."""

    epoch: int = 0
    children: list[Any] = field(default_factory=list)
    close: dict[str, Any] | None = None
    attempt: int = 0


@dataclass
class Faults:
    """How likely each fault is wherever it could strike."""

    resend: float = 0.0
    late: float = 0.0
    forget: float = 0.0
    death: float = 0.0
    timer: float = 0.0
    cancel: float = 0.0

    @classmethod
    def draw(cls, rng: random.Random) -> Faults:
        """None at all, or each of them to some degree."""
        if rng.random() < 0.2:
            return cls()
        drawn = [rng.choice((0.0, most / 2, most)) for most in (0.15, 0.05, 0.1, 0.4, 0.05)]
        return cls(*drawn, cancel=rng.choice((0.0, 0.0, 0.0, 0.05)))


class Home:
    """One stage's row and machine."""

    def __init__(self, shape: Shape, stage: str) -> None:
        self.machine = StageMachine(shape.pipeline, stage, Always(), Limits(MAX_ATTEMPTS, 1_000))
        self.stage, self.row, self.offset = stage, Row(), 0
        self.told: list[tuple[HomeRecord, At]] = []


class PipelineWorld:
    """One request to a random pipeline."""

    def __init__(self, shape: Shape, rng: random.Random, faults: Faults) -> None:
        self.shape, self.rng, self.faults = shape, rng, faults
        self.homes = {name: Home(shape, name) for name in shape.pipeline.stages}
        self.queues: dict[tuple[str, str], deque[bytes | Any]] = defaultdict(deque)
        self.busy: list[tuple[str, str]] = []
        self.streams: dict[tuple[str, str], Stream] = defaultdict(Stream)
        self.over: dict[tuple[str, str], int] = {}
        self.timers: dict[tuple[str, str], Arm] = {}
        self.done: list[dict[str, Any]] = []
        self.cancelled: set[tuple[str, str]] = set()
        self.steps = self.runs = self.now_ms = 0
        self.question = f"why {rng.randrange(10**6)}?"
        context = Context(rng.choice((Mode.STREAM, Mode.STREAM, Mode.BARRIER)))
        asked = Request(REQUEST_ID, "shape", Raw(msgspec.json.encode({"text": self.question})), context)
        takers = [n for n, s in shape.pipeline.stages.items() if s.node.takes(REQUEST)]
        for name in sorted({*takers, shape.pipeline.root}):
            self.send("client", name, asked)

    def send(self, sender: str, receiver: str, record: Any) -> None:
        """Append to what `receiver` has to hear from `sender`."""
        queue = self.queues[sender, receiver]
        if not queue:
            self.busy.append((sender, receiver))
        queue.append(record)

    def step(self, pick: int) -> None:
        """The next record of one of the queues reaches its home."""
        self.steps += 1
        at = pick % len(self.busy)
        pair = self.busy[at]
        queue = self.queues[pair]
        record = queue.popleft()
        if not queue:
            self.busy[at] = self.busy[-1]
            self.busy.pop()
        if self.faults.late and isinstance(record, bytes) and self.rng.random() < self.faults.late:
            self.send(f"late {self.steps}", pair[1], record)  # once more, at any time after this one
        self._reach(pair[1], decode_home(record) if isinstance(record, bytes) else record)

    def disturb(self) -> None:
        """What may go wrong between two records."""
        rng, faults = self.rng, self.faults
        if faults.forget and rng.random() < faults.forget:
            self.change_owner(rng.randrange(1_000))
        if faults.timer and rng.random() < faults.timer:
            self.fire(rng.randrange(1_000))
        if faults.cancel and rng.random() < faults.cancel:
            self.cancel(rng.randrange(1_000), rng.randrange(1_000))

    def change_owner(self, pick: int) -> None:
        """Only the encoded row of one home is left; map functions that were running there run again."""
        home = list(self.homes.values())[pick % len(self.homes)]
        home.row = decode_row(encode_row(home.row))
        home.machine.forget(REQUEST_ID)
        self.now_ms += 1
        self._carry_out(home, home.machine.resume(home.row, REQUEST_ID, At("", 0, home.offset, self.now_ms)).asked)

    def fire(self, pick: int) -> None:
        """The last timer of some call fires, whether or not its time has come."""
        if self.timers:
            (stage, path), armed = list(self.timers.items())[pick % len(self.timers)]
            self.send("timers", stage, Timer(REQUEST_ID, path, armed.attempt, armed.mark, due=armed.due))

    def cancel(self, pick: int, child: int) -> None:
        """A client cancels an item, which may be one that is still to come."""
        if self.streams:
            (stage, path), stream = list(self.streams.items())[pick % len(self.streams)]
            item = child_path(path, child % (len(stream.children) + 1), stream.epoch)
            self.send("client", self.shape.pipeline.root, Cancel(REQUEST_ID, item, cause="enough of it", stage=stage))

    def pass_time(self) -> bool:
        """All is silent: the timers of what is open fire. False: there are none."""
        for (stage, path), armed in list(self.timers.items()):
            call = self.homes[stage].row.calls.get(path)
            if call is not None and not call.closed and (call.attempt, call.mark) == (armed.attempt, armed.mark):
                self.send("timers", stage, Timer(REQUEST_ID, path, armed.attempt, armed.mark, due=armed.due))
        return bool(self.busy)

    # --- homes

    def _reach(self, stage: str, record: HomeRecord) -> None:
        home = self.homes[stage]
        home.offset += 1
        self.now_ms += 1
        home.told.append((record, At(f"chunks.shape.{stage}", 0, home.offset, self.now_ms)))
        out = home.machine.apply(home.row, *home.told[-1]).asked
        for each in out:
            if isinstance(each, Send):
                self._note(home, each)
        self._carry_out(home, out)

    def _carry_out(self, home: Home, out: list[Instruction]) -> None:
        rng, sends = self.rng, [each for each in out if isinstance(each, Send)]
        if sends and rng.random() < self.faults.resend:  # it died while it sent them: they are sent again, all of them
            self._deliver(home, sends[: rng.randint(0, len(sends))])
        self._deliver(home, sends)
        for each in out:
            if isinstance(each, Run):
                self._run_map(home, each)
            elif isinstance(each, Arm):
                self.timers[home.stage, each.path] = each

    def _deliver(self, home: Home, sends: list[Send]) -> None:
        for each in sends:
            kind, _, rest = each.topic.partition(".")
            if kind == "chunks":
                self.send(home.stage, rest.partition(".")[2], bytes(each.record))
            elif kind == "work":
                self._work(decode_work(bytes(each.record)))

    def _note(self, home: Home, send: Send) -> None:
        """What a home decides is heard here once, before it is sent."""
        kind = send.topic.partition(".")[0]
        if kind not in ("chunks", "results", "control"):
            return
        record = msgspec.json.decode(send.record)
        stage, path = record.get("stage", ""), record.get("path", "")
        match record["type"]:
            case "retract":
                self.streams[stage, path] = Stream(record["epoch"])
            case "items":
                self._note_items(self.streams[stage, path], record, home)
            case "event" if record["kind"] == "done":
                self.done.append(record["body"])
            case "event" if record["kind"] == "close" and record["body"].get("status") == "cancelled":
                self.cancelled.add((stage, path))
            case "ended":
                self.over[stage, path] = max(self.over.get((stage, path), 0), record["attempt"])

    def _note_items(self, stream: Stream, record: dict[str, Any], home: Home) -> None:
        epoch, first, told = record.get("epoch", 0), record.get("first", 0), record.get("children", [])
        where = f"{record['stage']} at {record['path']!r}"
        if epoch != stream.epoch:
            raise Violation(f"{where}: epoch {epoch}, where {stream.epoch} is the present one")
        if told and first == len(stream.children):  # else another consumer has been told the same
            stream.children += told
        elif told and stream.children[first:] != told:
            raise Violation(f"{where}: child {first} was told twice, and differently")
        stream.attempt = home.row.calls[record["path"]].attempt
        if "close" in record:
            if stream.close not in (None, record["close"]):
                raise Violation(f"{where}: closed twice")
            stream.close = record["close"]

    # --- workers

    def _work(self, work: Work) -> None:
        """A worker takes an item up, now; it hears sooner or later that the item is over."""
        if self.over.get((work.stage, work.path), 0) >= work.attempt and self.rng.random() < 0.5:
            return
        for _ in range(20):
            if self._run(work):
                return
        raise Violation("the world kills every run")

    def _run(self, work: Work) -> bool:
        """One run: whether it lived to its end."""
        rng, name = self.rng, f"run {self.runs}"
        self.runs += 1
        asked = work.call.messages[-1].content
        redoes = self.shape.pipeline.stages[work.stage].node.redoes
        whole = "".join(line + "\n" for line in said(work.stage, asked, work.attempt if redoes else 0))
        if not whole.startswith(work.prefix) or (redoes and work.prefix):
            raise Violation(f"{work.stage} at {work.path!r} is to continue {work.prefix!r} of {whole!r}")
        rest = whole[len(work.prefix) :]
        cuts = sorted({0, len(rest), *(rng.randint(0, len(rest)) for _ in range(rng.randint(0, 3)))})
        pieces = [rest[a:b] for a, b in pairwise(cuts)] or [""]
        end = REJECTED if fails(work.stage, asked) else STOP
        self.send(name, work.stage, Start(REQUEST_ID, work.path, work.attempt, name))
        dies_at = rng.randint(0, len(pieces) - 1) if rng.random() < self.faults.death else None
        for seq, piece in enumerate(pieces):
            if seq == dies_at:
                return False
            last = end if seq == len(pieces) - 1 else None
            self.send(name, work.stage, Chunk(REQUEST_ID, work.path, work.attempt, name, seq, piece, 1, end=last))
        return True

    def _run_map(self, home: Home, asked: Run) -> None:
        call, stage = home.row.calls.get(asked.path), self.shape.pipeline.stages[home.stage]
        if call is None or call.closed or call.attempt != asked.attempt:
            return
        try:
            found = stage.function.__wrapped__(**home.machine.arguments(home.row, asked.path))
            children = [Child(Raw(msgspec.json.encode(each))) for each in found]
            result = Result(REQUEST_ID, asked.path, asked.attempt, "map", children)
        except LookupError:
            result = Result(REQUEST_ID, asked.path, asked.attempt, "map", [], Status.FAILED, "it raised")
        self.runs += 1
        self.send(f"map {self.runs}", home.stage, result)
