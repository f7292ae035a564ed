"""What travels on topics.

Every record is JSON with a `type` tag, so that any Kafka tool can show it; msgspec checks the types on the way in.
A path travels in its wire form (see `ancestry`), at most 16 bytes a level. Times are the log's, in ms since the epoch.
Topics and what they carry:
    requests.<pipeline>          Request
    chunks.<pipeline>.<stage>    `HomeRecord`: Request | Items | Start | Chunk | Result | Timer | Cancel | ...
    work.<pipeline>.<stage>      Work
    results.<pipeline>           Event
    control.<pipeline>           Ended | Cancelled                                                    (`ControlRecord`)
    dead-letters.<pipeline>      DeadLetter
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Raw as Raw

from alto_streams.wire.call import Call as Call
from alto_streams.wire.call import Message as Message
from alto_streams.wire.call import TokenLogprob as TokenLogprob
from alto_streams.wire.codec import Wire as Wire
from alto_streams.wire.codec import decoder as decoder
from alto_streams.wire.codec import encode as encode
from alto_streams.wire.plans import Receipt


class Status(StrEnum):
    """How a stream, scope or child ended."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SHED = "shed"


class Mode(StrEnum):
    """`STREAM`: a stage starts on each partial output; `BARRIER`: once the one before has finished for the request."""

    STREAM = "stream"
    BARRIER = "barrier"


class Context(Wire, frozen=True):
    """What every stage must know of the request: it travels with the items.

    `shed`: once it can no longer meet its deadline it may be given up, so that others can.
    """

    mode: Mode = Mode.STREAM
    deadline_ms: int | None = None
    shed: bool = False


class Request(Wire, frozen=True, tag="request"):
    """One run of a pipeline. `id` is a UUIDv7, so it carries its creation time."""

    id: str
    pipeline: str
    input: Raw
    context: Context = Context()
    idempotency_key: str | None = None


class Close(Wire, frozen=True):
    """The punctuation of a stream: it has ended with `count` children in its current epoch."""

    count: int
    status: Status = Status.OK
    cause: str | None = None


class Child(Wire, frozen=True):
    """One whole item of a stream; one that failed is a typed leaf with its cause and no value."""

    value: Raw = Raw(b"null")
    status: Status = Status.OK
    cause: str | None = None


class Items(Wire, frozen=True, tag="items"):
    """Children from `first` on of the stream of `stage` at `path`, and its close; sent by its home to its consumers."""

    request: str
    stage: str
    path: str
    first: int = 0
    epoch: int = 0
    children: list[Child] = []
    close: Close | None = None
    context: Context = Context()


class Start(Wire, frozen=True, tag="start"):
    """A worker has begun a run of `attempt` of the call at `path` that has no chunk to say so: its engine broke."""

    request: str
    path: str
    attempt: int
    run: str


class End(Wire, frozen=True):
    """How a run ended. `reason`: `stop`, `length`, `error`, `rejected`, `aborted`."""

    status: Status
    reason: str
    cause: str | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0


class Chunk(Wire, frozen=True, tag="chunk"):
    """Text of a run, `count` tokens: `seq` counts from 0, which begins the run; the last one carries the `end`."""

    request: str
    path: str
    attempt: int
    run: str
    seq: int
    text: str
    count: int = 0
    tokens: list[int] | None = None
    logprobs: list[TokenLogprob] | None = None
    end: End | None = None


class Result(Wire, frozen=True, tag="result"):
    """What one run of a map function returned. `reason`: of one that failed, `raised`, `timeout` or `too_large`.

    `error` and `trace`: the type of what the function raised, and where.
    """

    request: str
    path: str
    attempt: int
    run: str
    children: list[Child] = []
    status: Status = Status.OK
    cause: str | None = None
    reason: str = ""
    error: str = ""
    trace: str = ""


class Timer(Wire, frozen=True, tag="timer"):
    """A silence that was armed at `mark`; void once the mark has advanced.

    With `due`, the end of the time that a whole call has, whatever its mark.
    """

    request: str
    path: str
    attempt: int
    mark: int
    due: bool = False


class Cancel(Wire, frozen=True, tag="cancel"):
    """Ends a scope from outside: a client, a deadline, load shedding. The first terminal record wins.

    Without a stage it is the whole request; else the item of `stage` at `path` and all that derives from it. It goes to
    the root's home, which decides and tells the other homes.
    """

    request: str
    path: str
    status: Status = Status.CANCELLED
    cause: str | None = None
    stage: str = ""
    context: Context = Context()


class Retract(Wire, frozen=True, tag="retract"):
    """Withdraws children from `first` on, of epochs below `epoch`, and all that derives from them."""

    request: str
    stage: str
    path: str
    first: int
    epoch: int


class Forget(Wire, frozen=True, tag="forget"):
    """The request is finished: only a marker stays."""

    request: str


HomeRecord = Request | Items | Start | Chunk | Result | Timer | Cancel | Retract | Forget


class Home(Wire, frozen=True):
    """The one topic-partition that decides about a path; fixed when its call is dispatched."""

    topic: str
    partition: int


class Work(Wire, frozen=True, tag="work"):
    """One attempt of one LM call, continuing from `prefix`. `flush`: `token` for a client that watches.

    `receipt`: why it went where it went.
    """

    request: str
    stage: str
    path: str
    attempt: int
    home: Home
    model: str
    call: Call
    prefix: str = ""
    prefix_tokens: list[int] | None = None
    flush: Literal["token", "line"] = "line"
    context: Context = Context()
    receipt: Receipt | None = None


class EventKind(StrEnum):
    """What a client hears. `CHUNK`: text of a watched stream; `ITEM`: one whole item; `DONE`: the last event.

    `RETRACTED`: children from `first` on, of epochs below `epoch`, of the stream at the event's path are withdrawn,
    with everything below them of the named `stages`, and all text of that stream if it is shown as text.
    `WAITING`: what engines the request waits for, from the gateway alone: it is not in the log and has no id.
    """

    ACCEPTED = "accepted"
    CHUNK = "chunk"
    ITEM = "item"
    CLOSE = "close"
    RETRACTED = "retracted"
    WAITING = "waiting"
    DONE = "done"


class Event(Wire, frozen=True, tag="event"):
    """One client event. (`kind`, `stage`, `path`, `number`) identifies it: a duplicate is dropped at the egress."""

    request: str
    kind: EventKind
    stage: str
    path: str
    number: int
    at_ms: int
    body: Raw


class Ended(Wire, frozen=True, tag="ended"):
    """Attempts up to `attempt` of this call are over: drop their work items on sight."""

    request: str
    stage: str
    path: str
    attempt: int


class Cancelled(Wire, frozen=True, tag="cancelled"):
    """Everything at and below `path` is over; if `stages` are named, only the calls of those."""

    request: str
    path: str
    stages: list[str] = []


ControlRecord = Ended | Cancelled


class DeadLetter(Wire, frozen=True, tag="dead-letter"):
    """A record, or a child, that can never succeed: cause, origin, and the record (base64) with its key, if any.

    `trace`: where a function of the pipeline's author raised, by file and line.
    """

    cause: str
    stage: str
    request: str
    path: str
    topic: str
    partition: int
    offset: int
    record: bytes = b""
    key: str = ""
    trace: str = ""
