"""What a worker's membership in its group survives."""

from __future__ import annotations

import asyncio
from typing import Any

from alto_streams.log.fetching import Coordinator


async def test_a_broker_that_names_no_broker_is_asked_again() -> None:
    """aiokafka asserts that there is one: its task ended by that, and the worker was never ready."""

    class Client:
        asked = updated = 0

        async def coordinator_lookup(self, kind: Any, group: str) -> int:
            self.asked += 1
            assert self.asked > 3, "Did we not perform bootstrap?"
            return 7

        async def force_metadata_update(self) -> bool:
            self.updated += 1
            return True

        async def ready(self, *_: Any, **__: Any) -> bool:
            return True

    coordinator = Coordinator.__new__(Coordinator)
    coordinator._client = client = Client()
    coordinator._closing = asyncio.get_running_loop().create_future()
    coordinator._retry_backoff_ms, coordinator.coordinator_id, coordinator.group_id = 1, None, "alto.test"
    coordinator._coordinator_lookup_lock = asyncio.Lock()
    await asyncio.wait_for(coordinator.ensure_coordinator_known(), 30)
    assert (coordinator.coordinator_id, client.updated) == (7, 3)
