"""What a client may submit: the body of `POST /v1/requests`, checked field by field. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import msgspec

from alto_streams.define.forms import form_of
from alto_streams.gateway.interfaces import PipelineInfo
from alto_streams.gateway.problems import Problem
from alto_streams.gateway.unknown_fields import unknown_field
from alto_streams.settings import Settings
from alto_streams.wire.records import Context, Mode

MAX_KEY_CHARS = 255
UNASKED_DEADLINE = 0.9  # of the horizon
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<place>\$.*)`)?$", re.DOTALL)
_UNNAMED = re.compile(r"(?:unknown|required) field `([^`]*)`")


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """`deadline`: seconds from now (a number), or a point in time (RFC 3339, with its offset)."""

    pipeline: str
    input: msgspec.Raw
    deadline: int | float | str | None = None
    idempotency_key: str | None = None
    mode: Mode = Mode.STREAM


@dataclass(frozen=True)
class Submission:
    """A checked submission. `digest` tells whether two bodies under one idempotency key ask for the same."""

    pipeline: PipelineInfo
    input: msgspec.Raw
    context: Context
    idempotency_key: str | None
    digest: str


_read_body = msgspec.json.Decoder(Body)


def parse_submission(
    payload: bytes, header_key: str | None, pipelines: Mapping[str, PipelineInfo], settings: Settings, now_ms: int
) -> Submission:
    """Checks a body.

    Raises:
        Problem: 400 for broken JSON, else 422; names the field.
    """
    body = _decode(payload)
    info = pipelines.get(body.pipeline)
    if info is None:
        known = sorted(pipelines)
        detail = f"no pipeline of that name; known: {', '.join(known)}"
        raise Problem(422, "unknown-pipeline", detail, field="pipeline", known=known)
    checked = _input(info, bytes(body.input), settings)
    key = _key(body.idempotency_key, header_key)
    context = Context(body.mode, _deadline_ms(body.deadline, settings.horizon_s, now_ms), info.shed)
    asked = msgspec.json.encode([info.name, checked, body.mode, body.deadline])
    return Submission(info, checked, context, key, hashlib.sha256(asked).hexdigest())


def _decode(payload: bytes) -> Body:
    try:
        unknown = unknown_field(Body, msgspec.json.decode(payload, type=dict[str, msgspec.Raw]))
        if unknown is not None:
            raise Problem(422, "invalid-field", str(unknown), field=unknown.place, known=unknown.known)
        return _read_body.decode(payload)
    except msgspec.ValidationError as error:
        raise _invalid(error, "") from None
    except msgspec.DecodeError as error:
        raise Problem(400, "broken-json", f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Problem(400, "broken-json", "the body is nested too deeply") from None


def _input(info: PipelineInfo, raw: bytes, settings: Settings) -> msgspec.Raw:
    """The input as it was understood: what was checked is what travels."""
    try:
        unknown = unknown_field(info.request_type, msgspec.json.decode(raw))
        if unknown is not None:
            raise Problem(422, "invalid-field", str(unknown), field=f"input.{unknown.place}", known=unknown.known)
        value = msgspec.json.decode(raw, type=info.request_type)
    except msgspec.ValidationError as error:
        raise _invalid(error, "input") from None
    except (msgspec.DecodeError, RecursionError):
        raise Problem(422, "invalid-field", "not a value of the pipeline's request type", field="input") from None
    needed = _texts(info.request_type)
    for name in info.request_type.__struct_fields__:
        text = getattr(value, name)
        if isinstance(text, str) and len(text) > settings.max_prompt_chars:
            detail = f"{len(text)} characters; at most {settings.max_prompt_chars} (ALTO_MAX_PROMPT_CHARS)"
            raise Problem(422, "oversized-field", detail, field=f"input.{name}")
        if isinstance(text, str) and name in needed and not text.strip():
            raise Problem(422, "empty-field", "must not be empty", field=f"input.{name}")
    return msgspec.Raw(msgspec.json.encode(value))


@lru_cache(maxsize=64)
def _texts(request: type[msgspec.Struct]) -> list[str]:
    return form_of("", request).texts


def _key(in_body: str | None, in_header: str | None) -> str | None:
    if in_body is not None and in_header is not None and in_body != in_header:
        detail = "differs from the Idempotency-Key header; give one of them"
        raise Problem(422, "invalid-field", detail, field="idempotency_key")
    key = in_body if in_body is not None else in_header
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        detail = f"must be 1 to {MAX_KEY_CHARS} printable characters"
        raise Problem(422, "invalid-field", detail, field="idempotency_key")
    return key


def _deadline_ms(deadline: float | str | None, horizon_s: float, now_ms: int) -> int | None:
    if deadline is None:
        # Past the horizon a request is forgotten: whatever happens to it, it ends before that.
        return now_ms + int(horizon_s * UNASKED_DEADLINE * 1000)
    if isinstance(deadline, str):
        try:
            at = datetime.fromisoformat(deadline)
            if at.tzinfo is None:
                raise ValueError("no offset")
            due_ms = int(at.timestamp() * 1000)
        except (ValueError, OverflowError):
            detail = "must be seconds from now, or an RFC 3339 time with its offset, e.g. 2030-01-31T12:00:00Z"
            raise Problem(422, "invalid-field", detail, field="deadline") from None
    else:
        # Bounded first: a huge number of seconds would overflow, and is past the horizon anyway.
        due_ms = now_ms + int(min(deadline, 2 * horizon_s) * 1000) if deadline > 0 else now_ms
    if due_ms <= now_ms:
        raise Problem(422, "deadline-in-the-past", "the deadline has passed", field="deadline")
    if due_ms > now_ms + horizon_s * 1000:
        detail = f"must be within {horizon_s:g} s (ALTO_HORIZON_S): a request is forgotten after that"
        raise Problem(422, "invalid-field", detail, field="deadline")
    return due_ms


def _invalid(error: msgspec.ValidationError, prefix: str) -> Problem:
    found = _PLACE.match(str(error))
    what, place = (found["what"], found["place"] or "$") if found else (str(error), "$")
    names = [prefix, place.removeprefix("$").removeprefix(".")]
    if (unnamed := _UNNAMED.search(what)) is not None:
        names.append(unnamed[1])
    return Problem(422, "invalid-field", what, field=".".join(name for name in names if name) or None)
