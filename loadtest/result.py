"""The result of a load test as a file tells it: `compare` writes it with what was measured, `limit` with the limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

TITLES = {"barrier": "barrier", "stream": "stream", "verdict_first": "verdict-first", "langgraph": "LangGraph"}
"""The modes in the order in which they are shown, and what they are called."""
LIMITS = {mode: title for mode, title in TITLES.items() if mode != "langgraph"}


class NoResult(ValueError):
    """A file that is no result of a load test, and why not."""


class RateFigures(msgspec.Struct, frozen=True):
    """At one offered rate; seconds, and requests a second."""

    mean_s: float
    p99_s: float
    p50_s: float | None = None
    ttft_s: float | None = None
    first_verdict_s: float | None = None
    achieved: float | None = None
    goodput: float | None = None
    errors: int = 0


class ModeFigures(msgspec.Struct, frozen=True):
    """Of one mode. `rates`: by offered rate, as text. `breakdown`: seconds of a request, by what they went into."""

    rates: dict[str, RateFigures]
    throughput_at_4s: float | None = None
    throughput_at_5600ms: float | None = None
    breakdown: dict[str, float] = {}

    def curve(self, figure: str) -> tuple[list[float], list[float]]:
        """Offered rates, ascending, and the figure at each."""
        points = sorted((float(rate), getattr(figures, figure)) for rate, figures in self.rates.items())
        return [rate for rate, _ in points], [value for _, value in points]


class Result(msgspec.Struct, frozen=True):
    """What was measured, and the limit of the same workload, by mode; and what it was measured on."""

    modes: dict[str, ModeFigures] = {}
    limit: dict[str, ModeFigures] = {}
    machine: dict[str, Any] = {}
    commit: str = "unknown"
    settings: dict[str, Any] = {}
    cost: dict[str, Any] | None = None


def read_result(path: Path) -> Result:
    """The result in a file, without the modes that it does not have.

    Raises:
        NoResult: it cannot be read, or it has no such figures; names the file and the field.
    """
    try:
        found = msgspec.convert(json.loads(path.read_bytes()), Result)
    except OSError as error:
        raise NoResult(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise NoResult(f"{path}: is no JSON (it is not even text)") from None
    except json.JSONDecodeError as error:
        raise NoResult(f"{path}: is no JSON ({error.msg}, line {error.lineno})") from None
    except msgspec.ValidationError as error:
        raise NoResult(f"{path}: is no result of a load test: {error}") from None
    _check(found, path)
    return found


def _check(result: Result, path: Path) -> None:
    for name, known in (("modes", TITLES), ("limit", LIMITS)):
        for mode, figures in getattr(result, name).items():
            if mode not in known:
                raise NoResult(f"{path}: `$.{name}` has {mode!r}; known are {', '.join(known)}")
            for rate in figures.rates:
                if not _is_rate(rate):
                    raise NoResult(f"{path}: `$.{name}.{mode}.rates` has {rate!r}, which is no rate in requests/s")
    if not any(each.rates for each in (*result.modes.values(), *result.limit.values())):
        raise NoResult(
            f"{path}: is no result of a load test: neither `$.modes` nor `$.limit` has figures at any rate; "
            "`python -m loadtest compare --json FILE` and `limit --json FILE` write them"
        )


def _is_rate(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
