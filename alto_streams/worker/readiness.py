"""`GET /ready` on a worker's web port: whether its partitions are assigned and its rows recovered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alto_streams.worker.app import App


def serve_readiness(app: App, waits_for: Callable[[], str | None] = lambda: None) -> None:
    """Answers 200 once the worker takes records, and 503 with the reason until then.

    `waits_for`: what else it has to wait for, None once it need not.
    """

    async def ready(view: Any, request: Any) -> Any:
        reason = _not_ready(app) or waits_for()
        body = {"app": app.conf.id, "ready": reason is None, "reason": reason}
        return view.json(body, status=200 if reason is None else 503)

    app.page("/ready", name="ready")(ready)


def _not_ready(app: App) -> str | None:
    if app.rebalancing:
        return "partitions are being assigned"
    if not app.tables.recovery.completed.is_set():
        return "waiting for partitions, or reading rows back"
    return None
