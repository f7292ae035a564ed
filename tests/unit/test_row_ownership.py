"""Who owns a table's partitions: what another worker may have changed in between is lost, and taken anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from faust.types import TP

from alto_streams.settings import Settings
from alto_streams.tables.store import RowTable
from alto_streams.worker.app import new_app


class Owner:
    """A worker's table, told of assignments as Faust tells them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = new_app("owner", Settings(var=folder))
        self.told: list[tuple[str, list[int]]] = []
        self.rows = RowTable(self.app, "rows", on_active=self.on_active, on_lost=self.on_lost)
        self._actives: set[TP] = set()
        monkeypatch.setattr(self.app.assignor, "assigned_actives", lambda: self._actives)

    async def on_active(self, partitions: frozenset[int]) -> None:
        self.told += [("active", sorted(partitions))] if partitions else []

    def on_lost(self, partitions: frozenset[int]) -> None:
        self.told.append(("lost", sorted(partitions)))

    async def assigned(self, generation: int, *partitions: int, recovered: bool = True) -> None:
        actives = {TP(self.rows.topic, partition) for partition in partitions}
        revoked, self._actives = self._actives - actives, actives
        self.rows.rebalanced(revoked, generation)
        self.app.tables.recovery._generation_id = generation
        if recovered:
            await self.rows.recovered(frozenset(partitions))


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    return Owner(tmp_path, monkeypatch)


async def test_a_partition_that_stays_is_not_taken_anew(owner: Owner) -> None:
    await owner.assigned(1, 0, 1)
    await owner.assigned(2, 0)
    await owner.assigned(3, 0, 1)
    assert owner.told == [("active", [0, 1]), ("lost", [1]), ("active", [1])]


async def test_what_another_had_during_an_unfinished_recovery_is_taken_anew(owner: Owner) -> None:
    await owner.assigned(1, 0, 1)
    await owner.assigned(2, 0, recovered=False)
    await owner.assigned(3, 0, 1)
    assert owner.told == [("active", [0, 1]), ("lost", [1]), ("active", [1])]


async def test_a_worker_that_was_expelled_and_came_back_takes_everything_anew(owner: Owner) -> None:
    await owner.assigned(1, 0, 1)
    await owner.assigned(3, 0, 1)  # generation 2 was made without it
    assert owner.told == [("active", [0, 1]), ("lost", [0, 1]), ("active", [0, 1])]
