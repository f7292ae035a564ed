"""One event of a request, as its client hears it."""

from __future__ import annotations

from typing import Any

import msgspec

from alto_streams.wire.records import EventKind


class ClientEvent(msgspec.Struct, frozen=True):
    """One event of a request. `id`: its offset in `results`, to resume from; `body`: what the stage put in."""

    id: int
    kind: EventKind
    stage: str
    path: str
    number: int
    at_ms: int
    body: Any
