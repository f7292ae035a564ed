"""A load test's result as drawings and as one page that holds everything: PNG and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from loadtest.drawing import breakdown, image, latency
from loadtest.result import TITLES, ModeFigures, Result

THROUGHPUTS = {"throughput_at_4s": "at mean 4 s", "throughput_at_5600ms": "at mean 5.6 s"}
COLUMNS = {
    "mean_s": "mean, s",
    "p50_s": "p50, s",
    "p99_s": "p99, s",
    "ttft_s": "first token, s",
    "first_verdict_s": "first verdict, s",
    "achieved": "achieved, req/s",
    "goodput": "within 4 s, req/s",
    "errors": "errors",
}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222;
       background: #fff; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin-top: 2.2rem; }}
svg {{ width: 100%; height: auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }}
td {{ font-variant-numeric: tabular-nums; }}
th {{ vertical-align: bottom; }}
th:first-child, td:first-child {{ text-align: left; }}
.note {{ color: #555; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_report(result: Result, folder: Path, name: str) -> list[Path]:
    """Writes `NAME-latency.png`, `NAME-breakdown.png` if there is a breakdown, and `NAME.html`; the files written.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    drawings = {"latency": latency(result), "breakdown": breakdown(result)}
    drawn = {part: figure for part, figure in drawings.items() if figure is not None}
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for part, figure in drawn.items():
        written.append(folder / f"{name}-{part}.png")
        written[-1].write_bytes(image(figure, "png"))
    pictures = {part: _inline(image(figure, "svg").decode()) for part, figure in drawn.items()}
    written.append(folder / f"{name}.html")
    written[-1].write_text(page(result, name, pictures), encoding="utf-8")
    return written


def page(result: Result, name: str, pictures: dict[str, str]) -> str:
    """The page, with its drawings as SVG inside: it needs no other file and no network."""
    body = [f"<h2>Latency against offered rate</h2>\n{pictures['latency']}", _throughputs(result)]
    if "breakdown" in pictures:
        body.append(f"<h2>What a request's time goes into</h2>\n{pictures['breakdown']}")
    body.append("<h2>Every rate</h2>")
    body += [_rates(title, figures) for title, figures in _rows(result)]
    for title, found in (("Cost", result.cost or {}), ("Machine", result.machine), ("Settings", result.settings)):
        if found:
            body.append(f"<h2>{title}</h2>\n{_table(('', ''), _flat(found))}")
    body.append(f'<p class="note">Commit {escape(result.commit)}.</p>')
    return PAGE.format(title=f"Load test: {escape(name)}", body="\n".join(body))


def _throughputs(result: Result) -> str:
    """Every ratio is to the limit's barrier: to a measured one, a slow system would look good."""
    base = result.limit.get("barrier")
    head = ["mode"]
    for said in THROUGHPUTS.values():
        head += [said, "ratio to the limit's barrier", "of its own limit"]
    rows = []
    for title, figures in _rows(result):
        row = [title]
        for name in THROUGHPUTS:
            value = getattr(figures, name)
            own = None if title.endswith("limit") else result.limit.get(_mode(title))
            ratio, share = _quotient(value, base, name), _quotient(value, own, name)
            row += [_number(value), _number(ratio), "" if share is None else f"{share:.0%}"]
        rows.append(row)
    return f"<h2>Throughput, requests/s</h2>\n{_table(head, rows)}"


def _quotient(value: float | None, of: ModeFigures | None, name: str) -> float | None:
    base = getattr(of, name) if of is not None else None
    return value / base if value is not None and base else None


def _rates(title: str, figures: ModeFigures) -> str:
    rows = [
        [f"{float(rate):g}", *(_number(getattr(found, column)) for column in COLUMNS)]
        for rate, found in sorted(figures.rates.items(), key=lambda each: float(each[0]))
    ]
    return f"<h3>{escape(title)}</h3>\n{_table(['offered, req/s', *COLUMNS.values()], rows)}" if rows else ""


def _rows(result: Result) -> Iterable[tuple[str, ModeFigures]]:
    """What was measured, then the limit; each in the order of the modes."""
    for modes, suffix in ((result.modes, ""), (result.limit, ", limit")):
        for mode, title in TITLES.items():
            if mode in modes:
                yield f"{title}{suffix}", modes[mode]


def _mode(title: str) -> str:
    return next(mode for mode, known in TITLES.items() if known == title)


def _flat(found: dict[str, Any], prefix: str = "") -> Iterable[list[str]]:
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield [f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{top}</tr>\n{body}\n</table></div>'


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _inline(svg: str) -> str:
    """A drawing without what only a file of its own needs before it."""
    return svg[svg.index("<svg") :]
