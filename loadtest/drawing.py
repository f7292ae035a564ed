"""Draws a load test's result: latency against offered rate, and what a request's time went into."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from loadtest.result import TITLES, Result

# Colours of Okabe and Ito, which the colour-blind can tell apart; each mode has a marker of its own besides.
MODES = {
    "barrier": ("#D55E00", "o"),
    "stream": ("#0072B2", "s"),
    "verdict_first": ("#009E73", "^"),
    "langgraph": ("#7A4B94", "D"),
}
PARTS = ("#0072B2", "#56B4E9", "#009E73", "#F0E442", "#E69F00", "#D55E00", "#CC79A7", "#999999", "#555555")
TARGETS_S = (4.0, 5.6)  # mean latencies at which throughputs are compared
NARROW = 0.05  # of the longest bar: a part that is narrower has no room for its figure
UNSAID: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # what an image within a page does not need
STYLE: Any = {  # its keys' type is a list of all of matplotlib's settings
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "font.size": 10,
    "svg.hashsalt": "loadtest",
}


def latency(result: Result) -> Figure:
    """Mean and p99 against offered rate: a line with markers for what was measured, a dashed one for the limit."""
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 5.2), layout=ConstrainedLayoutEngine(wspace=0.06))
        mean, p99 = figure.subplots(1, 2)
        for axes, name, title in ((mean, "mean_s", "Mean"), (p99, "p99_s", "p99")):
            _curves(axes, result, name)
            axes.set_title(f"{title} latency to the last verdict")
            axes.set_xlabel("offered rate, requests/s")
            axes.set_ylabel("latency, s (logarithmic)")
        _targets(mean)
        figure.legend(handles=list(_legend(result)), loc="outside lower center", ncols=4, frameon=False)
    return figure


def breakdown(result: Result) -> Figure | None:
    """A bar for each mode, in parts; None if the result has no breakdown."""
    bars = {
        f"{TITLES[mode]}{suffix}": modes[mode].breakdown
        for modes, suffix in ((result.modes, ""), (result.limit, ", limit"))
        for mode in TITLES
        if mode in modes and modes[mode].breakdown
    }
    if not bars:
        return None
    labels = list(dict.fromkeys(label for parts in bars.values() for label in parts))
    longest = max(sum(parts.values()) for parts in bars.values())
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 1.9 + 0.55 * len(bars)), layout="constrained")
        axes = figure.subplots()
        starts = dict.fromkeys(bars, 0.0)
        for number, label in enumerate(labels):
            colour = PARTS[number % len(PARTS)]
            widths = [bars[bar].get(label, 0.0) for bar in bars]
            drawn = axes.barh(
                list(bars),
                widths,
                left=list(starts.values()),
                color=colour,
                edgecolor="white",
                height=0.65,
                label=label,
            )
            shown = [f"{width:.2f}" if width >= NARROW * longest else "" for width in widths]
            axes.bar_label(drawn, shown, label_type="center", color=_ink(colour), fontsize=9)
            starts = {bar: starts[bar] + width for bar, width in zip(bars, widths, strict=True)}
        for bar, end in starts.items():
            axes.annotate(f"{end:.2f} s", (end, bar), (5, 0), textcoords="offset points", va="center", weight="bold")
        axes.invert_yaxis()
        axes.set_xlim(0, longest * 1.1)
        axes.set_xlabel("seconds of a request, mean")
        axes.set_title("What a request's time goes into")
        axes.grid(axis="x", alpha=0.3)
        figure.legend(loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    return figure


def image(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """The drawing as a file; the same for the same figures."""
    data = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(data, format=form, dpi=150, metadata=UNSAID if form == "svg" else None)
    return data.getvalue()


def _curves(axes: Axes, result: Result, name: str) -> None:
    for mode in MODES:
        if mode in result.limit:
            axes.plot(*result.limit[mode].curve(name), **_limit_line(mode))
        if mode in result.modes:
            axes.plot(*result.modes[mode].curve(name), **_line(mode))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.minorticks_off()
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


def _targets(axes: Axes) -> None:
    for target_s in TARGETS_S:
        axes.axhline(target_s, color="#555555", linewidth=0.8, linestyle=":")
        place = (1.0, target_s)
        axes.annotate(
            f"{target_s:g} s", place, (-2, 2), axes.get_yaxis_transform(), "offset points", ha="right", fontsize=8
        )


def _legend(result: Result) -> Iterable[Line2D]:
    """A column for each mode: what was measured above its limit, whichever there are."""
    for mode, title in TITLES.items():
        if mode in result.modes:
            yield Line2D([], [], label=title, **_line(mode))
        elif result.modes and mode in result.limit:
            yield Line2D([], [], label=" ", linestyle="none")
        if mode in result.limit:
            yield Line2D([], [], label=f"{title}, limit", **_limit_line(mode))
        elif result.limit and mode in result.modes:
            yield Line2D([], [], label=" ", linestyle="none")


def _line(mode: str) -> dict[str, Any]:
    colour, marker = MODES[mode]
    return {"color": colour, "marker": marker, "markersize": 6, "linewidth": 1.8}


def _limit_line(mode: str) -> dict[str, Any]:
    colour, marker = MODES[mode]
    hollow = {"marker": marker, "markersize": 4, "markerfacecolor": "white"}
    return {"color": colour, "linestyle": (0, (4, 2)), "linewidth": 1.3, **hollow}


def _ink(colour: str) -> str:
    """Black or white, whichever can be read on the colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "black"
