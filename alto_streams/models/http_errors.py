"""What an HTTP engine's failures mean: try again, wait, or never. No text from a request or reply is repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import httpx
import httpx_sse

from alto_streams.models.protocol import CallRejected, EngineOverloaded, EngineUnavailable

_OVERLOADED = (429, 503)
_REJECTED = (400, 413, 422)
_REMEDIES = {
    401: "it refuses the API key: set ALTO_ENGINE_API_KEY_FILE",
    403: "it refuses the API key: set ALTO_ENGINE_API_KEY_FILE",
    404: "it does not know the route or the model: correct ALTO_MODELS",
}
_KIND = re.compile(r"[A-Za-z_]{1,60}")


@contextmanager
def transport_errors(name: str) -> Iterator[None]:
    """Turns failures of the connection, and replies that are no replies, into `EngineUnavailable`."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise EngineUnavailable(f"{name}: cannot be reached: is it started, and is the address right?") from None
    except httpx.TimeoutException:
        raise EngineUnavailable(f"{name}: it has sent nothing for too long") from None
    except httpx.HTTPError as error:
        raise EngineUnavailable(f"{name}: the connection broke ({type(error).__name__})") from None
    except (httpx_sse.SSEError, json.JSONDecodeError, UnicodeDecodeError):
        raise EngineUnavailable(f"{name}: its reply is not a stream of chat completion events") from None


def refused(name: str, response: httpx.Response) -> NoReturn:
    """Raise what a status other than success means; the reply's body must have been read."""
    status = response.status_code
    if status in _OVERLOADED:
        raise EngineOverloaded(f"{name}: overloaded (HTTP {status})", _retry_after(response))
    if status in _REJECTED:
        raise CallRejected(f"{name}: refuses the call (HTTP {status}{_kind(response)})")
    remedy = _REMEDIES.get(status, "see its log")
    raise EngineUnavailable(f"{name}: HTTP {status}{_kind(response)}: {remedy}")


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; the form with a date is not used by engines."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None


def _kind(response: httpx.Response) -> str:
    """The error's type, such as `exceed_context_size_error`: a word, so it cannot quote the prompt."""
    try:
        body = response.json()
        error = body.get("error", body)
        kind = str(error.get("type", ""))
    except (ValueError, AttributeError):
        return ""
    return f", {kind}" if _KIND.fullmatch(kind) else ""
