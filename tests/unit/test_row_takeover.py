"""Taking partitions over while the group rebalances again, while the broker hiccups, and with many old rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from faust.types import TP

from alto_streams.errors import Retryable
from alto_streams.settings import Settings
from alto_streams.tables.store import RowTable
from alto_streams.tables.versions import encode_key, encode_value
from alto_streams.worker.app import App, new_app


class Sender:
    """Holds what is sent until it is let go, or fails."""

    def __init__(self) -> None:
        self.gate, self.calls, self.fails = asyncio.Event(), 0, 0
        self.gate.set()

    async def send_all(self, outs: Iterable[object]) -> None:
        self.calls += 1
        if self.fails:
            self.fails -= 1
            raise Retryable("a hiccup")
        await self.gate.wait()


class Owner:
    """A row table with the parts of Faust that it asks, and what its owner is told."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.sender = app, Sender()
        self.told: list[tuple[str, list[int]]] = []
        self.crashes: list[BaseException] = []
        self._actives = set[TP]()
        monkeypatch.setattr(App, "sender", property(lambda _: self.sender))
        monkeypatch.setattr(app, "crash", self._crash)
        monkeypatch.setattr(app.assignor, "assigned_actives", lambda: self._actives)
        self.rows = RowTable(
            app,
            "rows",
            on_active=self._on_active,
            on_lost=lambda lost: self.told.append(("lost", sorted(lost))),
            expired=lambda key: key.startswith("old"),
        )

    async def _crash(self, error: BaseException) -> None:
        self.crashes.append(error)

    async def _on_active(self, new: frozenset[int]) -> None:
        for partition in new:
            list(self.rows.items(partition))
        self.told.append(("active", sorted(new)))

    def rebalanced(self, generation: int, *partitions: int) -> None:
        """The group gives it these partitions."""
        actives = {TP(self.rows.topic, partition) for partition in partitions}
        revoked, self._actives = self._actives - actives, actives
        self.rows.rebalanced(revoked, generation)
        self.app.tables.recovery._generation_id = generation

    def has_losers(self, partition: int) -> None:
        """Two generations of a row are read back: one of them is to be buried."""
        self.rows.read_back(partition, encode_key("k", 3), encode_value(1, b"a"))
        self.rows.read_back(partition, encode_key("k", 4), encode_value(2, b"b"))


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    return Owner(new_app("owner", Settings(var=tmp_path)), monkeypatch)


async def test_a_rebalance_while_losers_are_buried_ends_no_worker(owner: Owner) -> None:
    owner.rebalanced(5, 3)
    owner.has_losers(3)
    owner.sender.gate.clear()
    taking = asyncio.create_task(owner.rows.recovered(frozenset({3})))
    await asyncio.sleep(0)
    owner.rebalanced(6, 3)
    owner.sender.gate.set()
    await taking
    assert owner.crashes == []
    assert ("active", [3]) not in owner.told, "the next assignment's recovery tells it"
    await owner.rows.recovered(frozenset({3}))
    assert owner.told[-1] == ("active", [3])


async def test_a_partition_is_taken_over_before_its_records_flow(owner: Owner) -> None:
    """Kept by a rebalance in the middle of the take-over: its owner had not been told yet."""
    owner.rebalanced(5, 3)
    owner.has_losers(3)
    owner.sender.gate.clear()
    taking = asyncio.create_task(owner.rows.recovered(frozenset({3})))
    await asyncio.sleep(0)
    held, owner.sender.gate = owner.sender.gate, asyncio.Event()
    owner.sender.gate.set()
    owner.rebalanced(6, 3)
    await owner.rows.recovered(frozenset({3}))
    owner.told.append(("records", [3]))
    held.set()
    await taking
    assert owner.told == [("active", [3]), ("records", [3])]


async def test_old_rows_are_dropped_together(owner: Owner) -> None:
    owner.rebalanced(5, 0)
    for n in range(500):
        owner.rows.read_back(0, encode_key(f"old{n}", 4), encode_value(n, b"x"))
    await owner.rows.recovered(frozenset({0}))
    assert owner.sender.calls < 10
    assert len(owner.rows) == 0


async def test_a_hiccup_of_the_broker_leaves_old_rows_for_later(owner: Owner) -> None:
    owner.rebalanced(5, 0)
    owner.rows.read_back(0, encode_key("old", 4), encode_value(1, b"x"))
    owner.sender.fails = 1
    await owner.rows.recovered(frozenset({0}))
    assert owner.crashes == []
    assert owner.told == [("active", [0])]
