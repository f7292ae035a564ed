"""Where work items go in tests: a partition that the test knows."""

from __future__ import annotations

from alto_streams.scheduler.placing import Ask, Placed


class Always:
    """Always the same partition."""

    def __init__(self, partition: int = 0) -> None:
        self._partition = partition

    def place(self, ask: Ask) -> Placed:
        return Placed(self._partition)

    def over(self, request: str, path: str) -> None: ...

    def forget(self, request: str) -> None: ...
