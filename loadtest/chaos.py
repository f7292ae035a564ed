"""Parts of a running system die, freeze and lose their memory under load; clients may notice a pause and nothing else.

Every figure comes from what clients received, checked against a recording with known answers, claims and labels, and
from the `results` topic, read whole at the end. How a silence is charged to a fault: `chaos_gaps`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from alto_streams.log.topics_file import load_topics
from alto_streams.wire.records import Event
from alto_streams.wire.topic_names import results_topic
from loadtest import chaos_gaps
from loadtest.chaos_check import Checker, Tally
from loadtest.chaos_gaps import Fault, Gap
from loadtest.chaos_load import Asked, Load, read_rows
from loadtest.chaos_plan import Amount, Kind, Round, plan, role_of
from loadtest.chaos_system import ChaosSystem, Say, chaos_system
from loadtest.evidence import keep, kept_if_it_fails
from loadtest.kafka import kafka_version
from loadtest.machine import commit, machine
from loadtest.results_log import LogTally, check_log, read_results

PIPELINE = "factcheck"
CALM_S = 8.0  # of load before the first fault: what streams are silent when nothing is broken
REACH_BEYOND_S = 2.0
FULL = Amount(kills=106, stops=20, broker_restarts=2, redis_restarts=1)
QUICK = Amount(kills=4, stops=1, redis_restarts=1, lone_lm=0.0)
REBALANCES = Amount(leaves=100)
LEAST_REQUESTS = 500


@dataclass(frozen=True, slots=True)
class Options:
    """What to do. `rate`: requests a second. `least`: requests to offer, however soon the faults are over."""

    amount: Amount = FULL
    rate: float = 0.5
    least: int = LEAST_REQUESTS
    session_s: float = 6.0
    workers: int = 2
    calm_s: float = CALM_S
    seed: int = 1


async def measure(options: Options, recording: Path, folder: Path, say: Say) -> dict[str, Any]:
    """Runs the faults and the load in `folder`; the figures, with `clean` whether all was right.

    Where it was not, `folder` has what clients heard and every topic (see `evidence`), beside the logs of all parts.

    Raises as `chaos_system`, and `Broken` if a part did not come back.
    """
    before, rows, began = machine(), read_rows(recording), time.monotonic()
    async with chaos_system(folder, recording, options.session_s, options.workers, say) as system:
        load = Load(system.running.gateways, rows, options.rate, options.seed, began)
        faults: list[Fault] = []
        async with kept_if_it_fails(system.running.settings.broker, load.asked, folder):
            await _under_faults(system, load, options, faults, began, say)
            events = await _results(system)
        tally = Tally()
        Checker(recording).check(load.asked, tally)
        figures = report(options, load.asked, faults, tally, check_log(events))
        if not figures["clean"]:  # while the broker still runs
            await keep(system.running.settings.broker, load.asked, folder)
    return figures | {
        "load_15min_after": round(os.getloadavg()[2], 2),
        "seconds": round(time.monotonic() - began, 1),
        "broker": f"Apache Kafka {kafka_version()}",
        "machine": before,
        "commit": commit(),
    }


async def _results(system: ChaosSystem) -> list[Event]:
    """All that was ever appended to `results`, partition by partition in offset order."""
    config = system.running.settings
    partitions = load_topics(config.topics_file).partitions(results_topic(PIPELINE))
    return [event async for _, _, event in read_results(config.broker, PIPELINE, partitions)]


async def _under_faults(
    system: ChaosSystem, load: Load, options: Options, faults: list[Fault], began: float, say: Say
) -> None:
    over = asyncio.Event()

    async def deal() -> None:
        await asyncio.sleep(options.calm_s)
        rounds = plan(options.amount, system.parts, options.session_s, options.seed)
        for number, each in enumerate(rounds, 1):
            found = await _carry_out(system, each, options.session_s, began)
            faults.extend(found)
            what = ", ".join(fault.part for fault in found)
            done = f"{load.done}/{len(load.asked)} done"
            say(f"[{number}/{len(rounds)}] {found[0].at_s:7.1f} s  {each.kind} {what}; {done}")
        await system.wait_all_ready()
        over.set()

    async def watch() -> None:
        await system.failed()

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        dealing = group.create_task(deal())
        await load.run(lambda: over.is_set() and len(load.asked) >= options.least)
        await dealing
        watching.cancel()


async def _carry_out(system: ChaosSystem, each: Round, session_s: float, began: float) -> list[Fault]:
    """Does what a round says and waits until the next is due; the faults that it made."""
    for victim in each.victims:
        await system.wait_ready(victim)
    start = time.monotonic()
    reach_s = session_s + REACH_BEYOND_S + each.pause_s
    match each.kind:
        case Kind.KILL | Kind.LEAVE:
            for victim in each.victims:
                system.signal(victim, signal.SIGTERM if each.kind is Kind.LEAVE else signal.SIGKILL)
        case Kind.STOP:
            await system.pause(each.victims[0], each.pause_s)
        case Kind.BROKER:
            await system.restart_broker(each.is_hard)
            reach_s += time.monotonic() - start
        case Kind.REDIS:
            await system.restart_redis()
    roles = {victim: str(role_of(victim)) for victim in each.victims} or {"server": "server"}
    faults = [Fault(start - began, str(each.kind), victim, role, reach_s) for victim, role in roles.items()]
    await asyncio.sleep(max(0.0, start + each.then_s - time.monotonic()))
    return faults


def report(
    options: Options, asked: Sequence[Asked], faults: Sequence[Fault], tally: Tally, log: LogTally
) -> dict[str, Any]:
    """The figures of a run."""
    gaps = chaos_gaps.gaps(faults, chaos_gaps.silences([each.times() for each in asked]))
    single = [gap for gap in gaps if gap.fault.kind in (Kind.KILL, Kind.STOP, Kind.LEAVE)]
    alone = [gap for gap in single if gap.alone and gap.silence is not None]
    p95 = chaos_gaps.percentile([gap.length_s for gap in alone], 0.95)
    kinds = Counter(fault.kind for fault in faults)
    latencies = [each.ended_s - each.offered_s for each in asked if each.ended_s is not None and not each.trouble]
    return {
        "kills": kinds[Kind.KILL],
        "kills_by_role": _by_role(faults, Kind.KILL),
        "stops": kinds[Kind.STOP],
        "stops_by_role": _by_role(faults, Kind.STOP),
        "leaves": kinds[Kind.LEAVE],
        "broker_restarts": kinds[Kind.BROKER],
        "redis_restarts": kinds[Kind.REDIS],
        "requests": len(asked),
        **{key: value for key, value in msgspec.to_builtins(tally).items() if key != "details"},
        "log": {key: value for key, value in msgspec.to_builtins(log).items() if key != "details"},
        "gap_p95_s": _rounded(p95),
        "gap_p95_beyond_session_s": _rounded(None if p95 is None else p95 - options.session_s),
        "gap_max_s": _rounded(max((gap.length_s for gap in alone), default=None)),
        "gap_p50_s": _rounded(chaos_gaps.percentile([gap.length_s for gap in alone], 0.5)),
        "gaps_alone": len(alone),
        "gap_all_p95_s": _rounded(chaos_gaps.percentile([gap.length_s for gap in single], 0.95)),
        "gap_all_max_s": _rounded(max((gap.length_s for gap in single), default=None)),
        "gaps_by_role": _gaps_by_role(alone),
        "gaps_of_restarts_s": [[gap.fault.kind, _rounded(gap.length_s)] for gap in gaps if gap not in single],
        "calm_gap_max_s": _rounded(_calm(asked, faults)),
        "latency_s": _latency(latencies),
        "clean": tally.is_clean and log.is_clean,
        "in_order": log.in_order,
        "details": tally.details + log.details,
        "gaps": [
            {"at_s": _rounded(g.fault.at_s), "kind": g.fault.kind, "part": g.fault.part, "gap_s": _rounded(g.length_s)}
            | {"alone": g.alone, "request": None if g.silence is None else asked[g.silence.request].id}
            for g in gaps
        ],
        "settings": asdict(options),
    }


def _by_role(faults: Sequence[Fault], kind: Kind) -> dict[str, int]:
    return dict(Counter(fault.role for fault in faults if fault.kind == kind))


def _gaps_by_role(gaps: Sequence[Gap]) -> dict[str, dict[str, Any]]:
    """Per kind and role. A part that died together with an LM worker shares its gap."""
    found: dict[str, list[float]] = {}
    for gap in gaps:
        found.setdefault(f"{gap.fault.kind} {gap.fault.role}", []).append(gap.length_s)
    return {
        name: {"n": len(each), "p50_s": _rounded(statistics.median(each)), "max_s": _rounded(max(each))}
        for name, each in sorted(found.items())
    }


def _calm(asked: Sequence[Asked], faults: Sequence[Fault]) -> float | None:
    first = min((fault.at_s for fault in faults), default=float("inf"))
    before = [each for each in chaos_gaps.silences([each.times() for each in asked]) if each.end_s < first]
    return max((each.length_s for each in before), default=None)


def _latency(latencies: Sequence[float]) -> dict[str, Any]:
    return {
        name: _rounded(chaos_gaps.percentile(latencies, share))
        for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
