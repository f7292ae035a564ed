"""How far a command with many requests is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alto_streams.cli.options import Advance


@contextmanager
def progress(total: int) -> Iterator[Advance]:
    """A bar on a terminal; elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        if done == total or done % max(1, total // 10) == 0:
            print(f"{done}/{total} requests done", file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield tell
        return
    with Progress("requests", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("requests", total=total)
        yield lambda: bar.advance(task)
