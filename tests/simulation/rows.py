"""What the changelogs of a world have acknowledged, and what must be true of every recovery and at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from alto_streams.tables.markers import is_marker
from alto_streams.tables.store import Put, RowTable
from alto_streams.tables.versions import Rows, encode_key, encode_value
from alto_streams.wire.request_ids import created_ms
from alto_streams.wire.topic_names import changelog_topic, home_topic
from tests.simulation.faults import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

MARKER_BYTES = 64


class Table(RowTable):
    """The table of a stage worker; the world is told what was acknowledged."""

    kept: Kept
    stage: str

    async def put_many(
        self, partition: int, puts: Iterable[Put | tuple[str, int, bytes | None]], generation: int | None = None
    ) -> None:
        ordered = sorted(puts, key=lambda put: put[0])  # the order of a set differs from process to process
        for key, _, value in ordered:
            if value is None:
                self.kept.deleted(self.stage, partition, key)
        await super().put_many(partition, ordered, generation)
        for key, offset, value in ordered:
            if value is not None:
                self.kept.acknowledged(self.stage, partition, key, offset)


class Kept:
    """Remembers every acknowledged version of every row."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._offsets: dict[tuple[str, int], dict[str, set[int]]] = {}

    def acknowledged(self, stage: str, partition: int, key: str, offset: int) -> None:
        """The changelog has it."""
        self._offsets.setdefault((stage, partition), {}).setdefault(key, set()).add(offset)

    def deleted(self, stage: str, partition: int, key: str) -> None:
        """Its tombstones are about to be written."""
        self._offsets.get((stage, partition), {}).pop(key, None)

    def check_recovered(self, stage: str, partition: int, recovered: Rows) -> None:
        """No row is older than what its partition's committed offset presumes: those records never come again."""
        place = (home_topic(self._world.pipeline.name, stage), partition)
        committed = self._world.groups[stage].committed.get(place, 0)
        for key, offsets in self._offsets.get((stage, partition), {}).items():
            if created_ms(key) + self._world.horizon_ms < self._world.now_ms:
                continue  # it is being deleted
            presumed = max((offset for offset in offsets if offset < committed), default=-1)
            found = recovered.get(key)
            if presumed >= 0 and (found is None or found.offset < presumed):
                at = "nothing" if found is None else f"offset {found.offset}"
                self._world.fail(f"{stage}-{partition}: {key} recovered {at}, committed is {committed} over {presumed}")

    def check_memory(self) -> None:
        """Once all requests are over, no worker holds anything of them but what it may store."""
        for worker in self._world.stage_workers:
            if worker in worker.group.members and any(worker.shell._rows._rows.values()):
                raise Violation(f"{worker.stage}: rows of finished requests are held in memory")

    def check_markers(self) -> None:
        """Whoever recovers the rows after the end finds markers."""
        for (stage, partition), rows in self._recovered().items():
            for key, row in rows.items():
                size = len(encode_key(key, row.generation)) + len(encode_value(row.offset, row.value))
                if not is_marker(row.value) or size > MARKER_BYTES:
                    raise Violation(f"{stage}-{partition}: more than a marker is left of {key}: {row.value[:200]!r}")

    def check_nothing_left(self) -> None:
        """After the horizon and a sweep no owner has a row."""
        for worker in self._world.stage_workers:
            if worker in worker.group.members and len(worker.rows):
                raise Violation(f"{worker.stage}: rows are left after the horizon")

    def _recovered(self) -> dict[tuple[str, int], Rows]:
        world, found = self._world, {}
        for stage in world.pipeline.stages:
            for partition in range(world.log.partitions):
                rows = found[stage, partition] = Rows()
                place = (changelog_topic(world.pipeline.name, stage), partition)
                for each in world.log.compacted(place, world.rng):
                    rows.apply(each.key or b"", each.value)
        return found
