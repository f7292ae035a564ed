"""Paths on the wire, their bounds, and when a scope is complete."""

from __future__ import annotations

import pytest

from alto_streams.errors import Poison
from alto_streams.wire.paths import (
    MAX_DEPTH,
    MAX_EPOCH,
    MAX_INDEX,
    ROOT,
    Level,
    Scope,
    ancestor_path,
    child_path,
    is_under,
    parse_path,
    wire_path,
)


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        ("", ROOT),
        ("0", (Level(0, 0),)),
        ("3/1~2", (Level(0, 3), Level(2, 1))),
        (f"{MAX_INDEX}~{MAX_EPOCH}", (Level(MAX_EPOCH, MAX_INDEX),)),
        ("/".join(["7"] * MAX_DEPTH), (Level(0, 7),) * MAX_DEPTH),
    ],
)
def test_wire_form(wire: str, path: tuple[Level, ...]) -> None:
    assert parse_path(wire) == path
    assert wire_path(path) == wire


@pytest.mark.parametrize(
    "wire",
    ["/", "1/", "/1", "a", "-1", "1~", "1~0", "01", "1~01", "~1", "1~2~3", "1 ", "²", "1//2", "9" * 5000, "1\n"],
)
def test_every_other_form_is_refused(wire: str) -> None:
    with pytest.raises(Poison, match="malformed path"):
        parse_path(wire)


@pytest.mark.parametrize("wire", [str(MAX_INDEX + 1), f"0~{MAX_EPOCH + 1}"])
def test_levels_are_bounded(wire: str) -> None:
    with pytest.raises(Poison, match="out of bounds"):
        parse_path(wire)


def test_depth_is_bounded() -> None:
    with pytest.raises(Poison, match=f"deeper than {MAX_DEPTH}"):
        parse_path("/".join(["0"] * (MAX_DEPTH + 1)))


def test_a_level_takes_at_most_sixteen_bytes() -> None:
    assert len("/" + wire_path((Level(MAX_EPOCH, MAX_INDEX),))) <= 16


def test_relations() -> None:
    assert child_path("", 3) == "3"
    assert child_path("3", 1, epoch=2) == "3/1~2"
    assert ancestor_path("3/1~2/0", 2) == "3/1~2"
    assert ancestor_path("3", 2) == "3"
    assert ancestor_path("3/1", 0) == ""
    assert is_under("3/1", "")
    assert is_under("3/1", "3")
    assert is_under("3", "3")
    assert not is_under("31", "3")
    assert not is_under("3", "3/1")
    assert not is_under("3~1/0", "3")


class TestScope:
    def test_an_empty_stream_completes_it(self) -> None:
        assert Scope("2", 1).close("2", 0)

    def test_a_leaf_before_its_close(self) -> None:
        scope = Scope("", 1)
        assert not scope.account("0")
        assert scope.close("", 1)
        assert scope.complete

    def test_a_close_before_its_leaf(self) -> None:
        scope = Scope("", 1)
        assert not scope.close("", 2)
        assert not scope.account("1")
        assert scope.account("0")

    def test_a_leaf_told_twice_counts_once(self) -> None:
        scope = Scope("", 1)
        scope.close("", 2)
        assert not scope.account("0")
        assert not scope.account("0")
        assert not scope.complete

    def test_it_completes_once(self) -> None:
        scope = Scope("", 1)
        scope.close("", 1)
        assert scope.account("0")
        assert not scope.account("0")
        assert not scope.close("", 1)
        assert scope.complete

    def test_two_levels_wait_for_every_stream(self) -> None:
        scope = Scope("5", 2)
        assert not scope.close("5", 3)
        assert not scope.close("5/0", 0)
        assert not scope.close("5/2", 1)
        assert not scope.account("5/1/0")  # its stream has not closed
        assert not scope.account("5/2/0")
        assert scope.close("5/1", 1)

    def test_an_inner_close_told_twice_counts_once(self) -> None:
        scope = Scope("", 2)
        scope.close("", 2)
        assert not scope.close("0", 0)
        assert not scope.close("0", 0)
        assert scope.close("1", 0)

    def test_deep_cascade(self) -> None:
        scope = Scope("", 5)
        for stream in ("0/0/0/0", "0/0/0", "0/0", "0"):
            assert not scope.close(stream, 1)
        assert not scope.account("0/0/0/0/0")
        assert scope.close("", 1)
