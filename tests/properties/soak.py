"""A million interleavings: `make soak-properties`, or `python -m tests.properties.soak --help`.

One interleaving is one world from its beginning to its end, in an order and with faults drawn from its seed, checked
after every record that it is told: one history of a scope (`scopes`), one call at its home (`calls`), one gather that
is told by a chain of stages (`joins`), or one request to a whole pipeline (`pipelines`). No two have the same seed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.properties import call_model, join_model, pipeline_oracle, scope_model

KINDS: dict[str, Callable[[int], int]] = {
    "scopes": scope_model.run,
    "calls": call_model.run,
    "joins": join_model.run,
    "pipelines": pipeline_oracle.run,
}
# Of ten interleavings; a whole pipeline takes some four times as long as a scope.
SHARES = {"scopes": 4, "calls": 4, "joins": 1, "pipelines": 1}
BATCH = 500
REPORT_EVERY_S = 10.0


class Batch(NamedTuple):
    """Some seeds of one kind, and, once they have been run, how that was."""

    kind: str
    first: int
    count: int
    records: int = 0
    cpu_s: float = 0.0
    violations: tuple[tuple[int, str], ...] = ()


def batches(total: int, seed: int, kinds: list[str]) -> Iterator[Batch]:
    """All that is to be run, the kinds in turn, so that progress is progress of all."""
    shares = sum(SHARES[kind] for kind in kinds)
    queues = []
    for kind in kinds:
        first, left = seed, total * SHARES[kind] // shares
        starts = range(first, first + left, BATCH)
        queues.append([Batch(kind, start, min(BATCH, first + left - start)) for start in starts])
    return (each for row in itertools.zip_longest(*queues) for each in row if each is not None)


def run(batch: Batch) -> Batch:
    """Run a batch to its end, whatever it finds."""
    gc.collect()
    gc.disable()  # a world is small and short-lived: looking for cycles in it costs a tenth of the time
    began, records, violations = time.process_time(), 0, []
    for seed in range(batch.first, batch.first + batch.count):
        try:
            records += KINDS[batch.kind](seed)
        except Exception as error:  # an exception of the code under test is as wrong as a violation
            violations.append((seed, f"{type(error).__name__}: {error}"))
    cpu_s = time.process_time() - began
    return batch._replace(records=records, cpu_s=cpu_s, violations=tuple(violations))


class Figures:
    """What has been run so far."""

    def __init__(self) -> None:
        self.began, self.reported = time.monotonic(), time.monotonic()
        self.count, self.records, self.cpu_s = Counter[str](), Counter[str](), Counter[str]()
        self.violations: list[tuple[str, int, str]] = []

    def add(self, batch: Batch) -> None:
        self.count[batch.kind] += batch.count
        self.records[batch.kind] += batch.records
        self.cpu_s[batch.kind] += batch.cpu_s
        for seed, what in batch.violations:
            self.violations.append((batch.kind, seed, what))
            print(f"VIOLATION {batch.kind}, seed {seed}: {what[:500]}", flush=True)
        if time.monotonic() - self.reported >= REPORT_EVERY_S:
            self.reported = time.monotonic()
            print(f"{self.count.total():>9,} interleavings, {len(self.violations)} violations", flush=True)

    def show(self, seed: int) -> None:
        """The closing figures."""
        print(f"\n{'kind':<12}{'interleavings':>14}{'records told':>14}{'CPU s':>9}")
        for kind in self.count:
            print(f"{kind:<12}{self.count[kind]:>14,}{self.records[kind]:>14,}{self.cpu_s[kind]:>9.1f}")
        total = (self.count.total(), self.records.total(), sum(self.cpu_s.values()))
        print(f"{'all':<12}{total[0]:>14,}{total[1]:>14,}{total[2]:>9.1f}")
        print(f"violations {len(self.violations)}, {time.monotonic() - self.began:.0f} s, first seed {seed}")


def replay(kind: str, seed: int) -> int:
    """Run one interleaving again, with all of its traceback."""
    try:
        print(f"{kind}, seed {seed}: {KINDS[kind](seed)} records, nothing wrong")
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main() -> int:
    """0 if nothing was violated."""
    parser = argparse.ArgumentParser(prog="tests.properties.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", "--interleavings", type=int, default=1_000_000)
    parser.add_argument("-j", "--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="the first seed of each kind")
    parser.add_argument("--kind", choices=list(KINDS), help="only these")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this one of --kind again")
    args = parser.parse_args()
    kinds = [args.kind] if args.kind else list(KINDS)
    if args.replay is not None:
        return replay(kinds[0], args.replay)
    figures, planned = Figures(), batches(args.interleavings, args.seed, kinds)
    try:
        if args.processes == 1:
            for batch in planned:
                figures.add(run(batch))
        else:
            with multiprocessing.Pool(args.processes) as pool:
                for done in pool.imap_unordered(run, planned):
                    figures.add(done)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    figures.show(args.seed)
    return 1 if figures.violations or figures.count.total() < args.interleavings // 10 * 10 else 0


if __name__ == "__main__":
    sys.exit(main())
