"""Work items go to partitions in turn."""

from __future__ import annotations

from itertools import islice

import pytest

from alto_streams.scheduler.placing import in_turn


@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 6, 8, 12, 24, 25, 64, 100])
def test_each_partition_gets_its_turn(partitions: int) -> None:
    turns = in_turn(partitions)
    for _ in range(3):
        assert sorted(islice(turns, partitions)) == list(range(partitions))


@pytest.mark.parametrize(("partitions", "owners"), [(24, 4), (24, 3), (64, 8), (8, 2)])
def test_owners_of_neighbours_are_busy_alike(partitions: int, owners: int) -> None:
    """Whatever stretch of calls one looks at, no owner of a block has two more of them than its share."""
    block = partitions // owners
    placed = [partition // block for partition in islice(in_turn(partitions), 4 * partitions)]
    for start in range(len(placed)):
        stretch = placed[start : start + 2 * owners]
        if len(stretch) == 2 * owners:
            assert max(stretch.count(owner) for owner in range(owners)) <= 3
