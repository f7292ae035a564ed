"""What the tests on real brokers share."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _stock_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stock Faust stops with connections open when its session is lost: a later test must not be blamed for them."""
    yield
    call = getattr(request.node, "callspec", None)
    if call is not None and call.params.get("kind") == "stock":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
