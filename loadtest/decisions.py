"""How long a dispatch decision takes, without anything around it: `python -m loadtest.decisions`."""

from __future__ import annotations

import json
import random
import time
from collections import deque

from alto_streams.recordings.results import percentile
from alto_streams.scheduler.dispatch import Dispatcher, Lane
from alto_streams.scheduler.placing import Ask
from alto_streams.scheduler.policies import policy
from alto_streams.wire.plans import ClassForecast, Forecast, Load, Plan
from alto_streams.wire.records import Call, Message

CLASSES = 4
OPEN = 400  # calls under way
CALL_MS, LOADS_EVERY = 10, 10  # the log's time between two calls; calls between two looks at the loads
WARM_UP = 200


def decision_times(workers: int, partitions: int, calls: int, name: str = "prompt_aware", seed: int = 1) -> list[float]:
    """Seconds that each of `calls` decisions takes among `workers` that all own some of `partitions`.

    Every worker has its part by the plan's weights in each class; loads are live and change all the time. Hearing
    of loads and of ends is not counted: it is not in a call's way.
    """
    rng = random.Random(seed)
    names = [f"http://10.0.0.{number}:6066" for number in range(workers)]
    lanes = {f"stage{n}": Lane(f"pipeline.stage{n}", partitions) for n in range(CLASSES)}
    dispatcher = Dispatcher("sender", "model", lanes, policy(name), seed)
    owners = {
        lane.prompt_class: [names[(p + n) % workers] for p in range(partitions)]
        for n, lane in enumerate(lanes.values())
    }
    weights = {each: {name: rng.uniform(0.5, 1.5) for name in set(mine)} for each, mine in owners.items()}
    dispatcher.plan(Plan("model", 1, 0, "first", owners, weights))
    expected = ClassForecast(900.0, 40.0, 80.0, 700.0, 5.0, 0.8, 2.0)
    speeds = {name: rng.uniform(0.5, 1.5) for name in names}
    dispatcher.forecast(Forecast("model", 0, dict.fromkeys(owners, expected), speeds))
    call = Call([Message("system", "s" * 3_000), Message("user", "u" * 600)], max_tokens=128)
    held, times = deque[tuple[str, str]](), list[float]()
    for number in range(calls + WARM_UP):
        at_ms = number * CALL_MS
        if number % LOADS_EVERY == 0:
            dispatcher.loads([_load(rng, each, at_ms, owners) for each in names], at_ms)
        ask = Ask(f"stage{number % CLASSES}", f"request-{number // 8}", f"0/{number}", 1, call, 0, at_ms, at_ms + 4_000)
        begun = time.perf_counter()
        dispatcher.place(ask)
        times.append(time.perf_counter() - begun)
        held.append((ask.request, ask.path))
        if len(held) > OPEN:
            dispatcher.over(*held.popleft())
    return times[WARM_UP:]


def _load(rng: random.Random, worker: str, at_ms: int, owners: dict[str, list[str]]) -> Load:
    owned = {each: [p for p, owner in enumerate(mine) if owner == worker] for each, mine in owners.items()}
    warm = rng.sample(list(owners), 2)
    return Load(worker, at_ms, rng.randrange(64), rng.randrange(8), {"another": rng.randrange(3_000)}, warm, owned)


if __name__ == "__main__":
    taken = sorted(decision_times(32, 24, 20_000))
    print(json.dumps({f"p{q}_us": round(percentile(taken, q / 100) * 1e6, 1) for q in (50, 99)}))
