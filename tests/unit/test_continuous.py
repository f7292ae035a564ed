"""The continuous benchmark's verdict on what it has measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.continuous import TABLE, TableUnreadable, judged, kept, ratios

RESULT = {
    "modes": {
        mode: {"rates": {"4": {"mean_s": s}}}
        for mode, s in {"barrier": 6.0, "stream": 4.4, "verdict_first": 3.0, "langgraph": 6.0}.items()
    },
    "limit": {
        mode: {"rates": {"4": {"mean_s": s}}}
        for mode, s in {"barrier": 5.0, "stream": 4.0, "verdict_first": 2.5}.items()
    },
}


def test_what_is_measured_is_what_the_table_keeps() -> None:
    assert ratios(RESULT).keys() == kept().keys()
    assert all(measured <= most for measured, most in kept(TABLE).values())


def test_ratios() -> None:
    assert ratios(RESULT) == pytest.approx(
        {
            "barrier_to_limit": 1.2,
            "stream_to_limit": 1.1,
            "verdict_first_to_limit": 1.2,
            "verdict_first_to_limit_barrier": 0.6,
            "verdict_first_to_langgraph": 0.5,
        }
    )


def test_a_ratio_beyond_its_tolerance_fails_and_is_named() -> None:
    lines, is_fine = judged({"a": 1.0, "b": 1.3}, {"a": (1.0, 1.1), "b": (1.1, 1.2)})
    assert not is_fine
    assert lines[-1] == "beyond its tolerance: b"
    assert judged({"a": 1.0}, {"a": (1.0, 1.1)})[1]


def test_a_table_that_lacks_a_ratio(tmp_path: Path) -> None:
    file = tmp_path / "table.md"
    file.write_text("| ratio | of | kept | at most |\n| --- | --- | --- | --- |\n| `a` | x | 1.05 | 1.30 |\n")
    assert kept(file) == {"a": (1.05, 1.3)}
    with pytest.raises(TableUnreadable, match="b"):
        judged({"a": 1.0, "b": 1.0}, kept(file))
