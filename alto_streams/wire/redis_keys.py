"""The names in Redis, shared by those that write and those that read: egress and gateways, workers and senders.

    alto:{<request>}:events            stream; entry id `<offset>-1`, fields `kind` and `data`; and a channel, on which
                                       each entry is told as it is added: `<id> <id of the one before> <kind> <data>`
    alto:{<request>}:seen              hash; (kind, stage, path) -> last number, `last` -> id of the last entry,
                                       `done` -> that of the last event
    alto:{<request>}:request           hash; `pipeline`
    alto:recent:<pipeline>             sorted set, all scores 0; ids of accepted requests, in the order of time
    alto:idempotency:<pipeline>:<h>    string; `<request> <digest of the body> sent|pending`
    alto:egress:<pipeline>:<partition> string; the last offset of `results.<pipeline>` that is in Redis
    alto:away:<model>                  hash; LM worker -> its `EngineAway`, while its engine does not answer
    alto:load:<model>                  hash; LM worker -> its `Load`, written by itself several times a second

All of it may be lost: the streams are rebuilt from `results`, and calls are placed without loads.
"""

from __future__ import annotations

import hashlib

# Redis refuses the id 0-0, and offset 0 is a real one, so the second half of every entry id is 1.
START = "0-0"
KIND = b"kind"
DATA = b"data"


def events_key(request: str) -> str:
    """The stream of a request's client events, and the channel that tells of them."""
    return f"alto:{{{request}}}:events"


def seen_key(request: str) -> str:
    """What has been published of a request, by identity."""
    return f"alto:{{{request}}}:seen"


LAST_SEEN = "last"


def seen_field(kind: str, stage: str, path: str) -> str:
    """The field of `seen_key` for events of one identity."""
    return f"{kind} {stage} {path}"


def recent_key(pipeline: str) -> str:
    """The requests of a pipeline that gateways have accepted."""
    return f"alto:recent:{pipeline}"


def request_key(request: str) -> str:
    """What a gateway must know of a request that it did not accept itself."""
    return f"alto:{{{request}}}:request"


def idempotency_key(pipeline: str, key: str) -> str:
    """Which request an idempotency key stands for; the key itself, being the client's text, is hashed."""
    return f"alto:idempotency:{pipeline}:{hashlib.sha256(key.encode()).hexdigest()}"


def published_key(pipeline: str, partition: int) -> str:
    """The last offset of a partition of `results` that Redis has."""
    return f"alto:egress:{pipeline}:{partition}"


def load_key(model: str) -> str:
    """What the LM workers of a model hold at this moment."""
    return f"alto:load:{model}"


def away_key(model: str) -> str:
    """Which of a model's LM workers cannot reach their engines, and why."""
    return f"alto:away:{model}"


def entry_id(offset: int) -> str:
    """The stream entry of the event at this offset of `results`; below every event for -1."""
    return START if offset < 0 else f"{offset}-1"


def offset_of(entry: bytes) -> int:
    """The offset in `results` of a stream entry; -1 of what is below every event."""
    offset, half = entry.split(b"-", 1)
    return int(offset) if half != b"0" else -1
