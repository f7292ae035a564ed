"""Each kind of stage has its class, in a module that is named as the kind is; no other part of a home asks for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alto_streams.define.topology import Kind
from alto_streams.tables import calls
from alto_streams.tables.kinds import class_of
from alto_streams.tables.kinds.call_kind import CallKind


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_a_class_of_its_own(kind: Kind) -> None:
    found = class_of(kind)
    assert issubclass(found, CallKind)
    assert found.__module__ == f"alto_streams.tables.kinds.{kind}"
    assert found.attempt is not CallKind.attempt, "it says how an attempt is made"


def test_no_other_part_of_the_tables_asks_for_a_kind() -> None:
    tables = Path(calls.__file__).parent
    asking = [each.name for each in tables.glob("*.py") if re.search(r"\bKind\.", each.read_text("utf-8"))]
    assert asking == []
