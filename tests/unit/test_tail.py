"""How long readers of quiet topics wait for a record."""

from __future__ import annotations

import pytest

from alto_streams.log import tail
from alto_streams.settings import Settings


@pytest.mark.parametrize(("set_ms", "waits_ms"), [(500, tail.QUIET_WAIT_MS), (15, 15)])
def test_it_is_long_unless_the_broker_has_to_be_asked(
    set_ms: int, waits_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker wakes no fetch: a long wait would be added to every cancel."""
    monkeypatch.setattr(tail, "LogConsumer", dict)
    config = Settings(_env_file=None, fetch_max_wait_ms=set_ms)  # type: ignore[call-arg]
    made: object = tail.consumers(config)()
    assert isinstance(made, dict)
    assert made["fetch_max_wait_ms"] == waits_ms
