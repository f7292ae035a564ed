"""What an HTTP engine's failures mean: try again, wait, or never. No text from a request or reply is repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import httpx
import httpx_sse

from alto_streams.errors import CallRejected, EngineBroke, EngineOverloaded, EngineUnavailable

OVERLOADED = (429, 503)
_REJECTED = (400, 413, 422)
_FAILED = 500
_REMEDIES = {
    401: "it refuses the API key: set ALTO_ENGINE_API_KEY_FILE, or api_key_file of its card",
    403: "it refuses the API key: set ALTO_ENGINE_API_KEY_FILE, or api_key_file of its card",
    404: "it does not know the route or the model: correct ALTO_MODELS, or its card",
}
_KIND = re.compile(r"[A-Za-z_]{1,60}")


@contextmanager
def transport_errors(name: str) -> Iterator[None]:
    """Turns failures of the connection, and replies that are no replies, into `EngineUnavailable`.

    A connection that breaks after the call was sent is the engine's end, and perhaps the call's doing. Silence is
    not: a long queue looks the same.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise EngineUnavailable("cannot be reached: is it started, and is the address right?", name) from None
    except httpx.TimeoutException:
        raise EngineUnavailable("it has sent nothing for too long", name) from None
    except httpx.HTTPError as error:
        raise EngineBroke(f"the connection broke ({type(error).__name__})", name) from None
    except (httpx_sse.SSEError, json.JSONDecodeError, UnicodeDecodeError):
        raise EngineUnavailable("its reply is not a stream of chat completion events", name) from None


def refused(name: str, response: httpx.Response) -> NoReturn:
    """Raise what a status other than success means; the reply's body must have been read."""
    status = response.status_code
    if status in OVERLOADED:
        raise EngineOverloaded(f"overloaded (HTTP {status})", name, _retry_after(response))
    if status in _REJECTED:
        raise CallRejected(f"refuses the call (HTTP {status}{_kind(response)})", name)
    remedy = _REMEDIES.get(status, "see its log")
    # A proxy's 502 or 504 says that nobody behind it took the call; the engine's own 500 that the call failed in it.
    kind = EngineBroke if status == _FAILED else EngineUnavailable
    raise kind(f"HTTP {status}{_kind(response)}: {remedy}", name)


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
