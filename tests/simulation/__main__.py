"""A long run: `python -m tests.simulation SCHEDULES` plays that many fault schedules and prints what they came to."""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.simulation.faults import Violation
from tests.simulation.play import KINDS, play

SHOWN = 20


def main(schedules: int) -> int:
    """0 if nothing was violated. The kinds that have faults take turns; kind k plays the seeds k, k + n, k + 2n, ..."""
    kinds = [name for name, kind in KINDS.items() if kind.faults.budget]
    struck, found, steps, began = Counter[str](), list[str](), 0, time.monotonic()
    for seed in range(schedules):
        try:
            world = play(kinds[seed % len(kinds)], seed)
        except Violation as error:
            found.append(str(error))
        else:
            struck += world.struck
            steps += world.scheduler.steps
    took_s = time.monotonic() - began
    for violation in found[:SHOWN]:
        print(violation)
    for fault, count in sorted(struck.items()):
        print(f"{fault:<16}{count:>10,}")
    print(f"{'faults':<16}{struck.total():>10,}")
    print(f"{'steps':<16}{steps:>10,}")
    print(f"{'schedules':<16}{schedules:>10,}")
    print(f"{'violations':<16}{len(found):>10,}")
    print(f"{'seconds':<16}{took_s:>10,.1f}")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m tests.simulation SCHEDULES")
    sys.exit(main(int(sys.argv[1])))
