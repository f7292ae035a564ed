"""Holes in what was fetched: waited for, and given up after a while."""

from __future__ import annotations

from dataclasses import dataclass

from alto_streams.log.late_records import PATIENCE_S, Holes


@dataclass
class At:
    offset: int


def at(*offsets: int) -> list[At]:
    return [At(offset) for offset in offsets]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_records_without_a_hole_pass() -> None:
    holes = Holes[str](Clock())
    assert holes.before_hole("a", 3, at(3, 4, 5)) == (at(3, 4, 5), None)
    assert holes.before_hole("a", None, at(9)) == (at(9), None)
    assert holes.before_hole("a", 5, at(2, 3)) == (at(2, 3), None), "sought back meanwhile"


def test_what_stands_behind_a_hole_is_fetched_again() -> None:
    holes = Holes[str](Clock())
    assert holes.before_hole("a", 3, at(3, 5, 6)) == (at(3), 4)
    assert holes.before_hole("a", 4, at(5, 6)) == ([], 4)
    assert holes.before_hole("a", 4, at(4, 5, 6)) == (at(4, 5, 6), None)


def test_a_hole_that_stays_is_accepted() -> None:
    clock = Clock()
    holes = Holes[str](clock)
    assert holes.before_hole("a", 3, at(7)) == ([], 3)
    clock.now = PATIENCE_S
    assert holes.before_hole("a", 3, at(7)) == (at(7), None)
    assert holes.before_hole("b", 3, at(7)) == ([], 3), "each partition for itself"
