"""The state of one stage for one aggregation key, and what the home of that key is asked to do. Pure.

A row is a function of its partition up to `offset`: whoever recovers it goes on exactly where it was left.
"""

from __future__ import annotations

import msgspec

from alto_streams.wire.paths import Scope
from alto_streams.wire.records import Context, Raw, Status, TokenLogprob


class Send(msgspec.Struct, frozen=True):
    """Append a record. Without a partition, the key chooses it. `last`: once the client's events are in the log.

    `call`: path and number of the attempt that it dispatches; it need not be sent once that is over.
    """

    topic: str
    record: Raw
    key: str | None = None
    partition: int | None = None
    last: bool = False
    call: tuple[str, int] | None = None


class Run(msgspec.Struct, frozen=True):
    """Run the map function of the call at `path`, and append its `Result` to the home."""

    path: str
    attempt: int


class Arm(msgspec.Struct, frozen=True):
    """Append `Timer(path, attempt, mark, due)` to the home at `at_ms`. A later one for the same path replaces it."""

    path: str
    attempt: int
    mark: int
    at_ms: int
    due: bool = False


Instruction = Send | Run | Arm


class CallState(msgspec.Struct, omit_defaults=True):
    """One call and its stream: which attempt is open, which run of it is followed, and what has been accepted.

    `before`: attempts that do not count any more, since the call was begun anew. `epoch`: that of its children. `seq`:
    the next chunk of the followed run. `mark` advances with every followed start and accepted chunk, so that a timer
    armed before is void. `tokens`: those of `text`, None once a chunk came without. `shown`: client events numbered so
    far. `due_ms`: when it fails if it is still open. `held`: closed until its inputs, some of which were withdrawn, are
    whole again.
    """

    attempt: int = 0
    before: int = 0
    epoch: int = 0
    run: str | None = None
    starts: int = 0
    seq: int = 0
    mark: int = 0
    text: str = ""
    spent: int = 0
    tokens: list[int] | None = []
    logprobs: list[TokenLogprob] = []
    children: int = 0
    shown: int = 0
    due_ms: int | None = None
    closed: bool = False
    held: bool = False

    @property
    def is_over(self) -> bool:
        """It has ended, and is not to begin anew."""
        return self.closed and not self.held


class Row(msgspec.Struct, omit_defaults=True):
    """Everything that one stage knows of one request.

    `values` and `failures`: source stage -> path -> what came from it. `scopes`: scope name -> path -> progress.
    `withdrawn`: stage -> path of a stream -> epoch -> the first child that it replaces. `cancelled`: stage -> path of
    an item -> how it ended. Once the request is finished only `offset` and `finished` are left, the marker that keeps
    it from rising again.
    """

    offset: int = -1
    context: Context = Context()
    values: dict[str, dict[str, Raw]] = {}
    failures: dict[str, dict[str, str]] = {}
    scopes: dict[str, dict[str, Scope]] = {}
    calls: dict[str, CallState] = {}
    withdrawn: dict[str, dict[str, dict[int, int]]] = {}
    cancelled: dict[str, dict[str, Status]] = {}
    finished: Status | None = None

    def value(self, source: str, path: str) -> Raw | None:
        return self.values.get(source, {}).get(path)

    def failure(self, source: str, path: str) -> str | None:
        return self.failures.get(source, {}).get(path)

    def scope(self, name: str, path: str, levels: int) -> Scope:
        scopes = self.scopes.setdefault(name, {})
        if path not in scopes:
            scopes[path] = Scope(path, levels)
        return scopes[path]

    def finish(self, status: Status) -> None:
        """Leave only the marker."""
        self.finished = status
        self.values, self.failures, self.scopes, self.calls = {}, {}, {}, {}
        self.withdrawn, self.cancelled = {}, {}
        self.context = Context()


def encode_row(row: Row) -> bytes:
    """The bytes that the changelog keeps."""
    return _encoder.encode(row)


def decode_row(payload: bytes) -> Row:
    """The row of its bytes."""
    return _decoder.decode(payload)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Row)
