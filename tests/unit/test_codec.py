"""What cannot be read is told by its field; what stands there is not repeated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alto_streams.errors import Poison
from alto_streams.wire.codec import Wire, decoder
from alto_streams.wire.records import HomeRecord

decode: Callable[[bytes], Wire] = decoder(HomeRecord)  # type: ignore[arg-type]


@pytest.mark.parametrize(("field", "value"), [("type", "result"), ("status", "ok")])
def test_an_undecodable_record_is_not_quoted(field: str, value: str) -> None:
    record = '{"type":"result","request":"r","path":"","attempt":1,"run":"x","status":"ok"}'
    bad = record.replace(f'"{field}":"{value}"', f'"{field}":"what \'she\' said"')
    with pytest.raises(Poison, match=field) as told:
        decode(bad.encode())
    assert "said" not in str(told.value)
