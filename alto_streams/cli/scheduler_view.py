"""What is known of a model's plan, classes and workers, as JSON and as tables. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from alto_streams.history.plans import SchedulerState
from alto_streams.scheduler.loads import STALE_MS
from alto_streams.scheduler.statistics import ClassState
from alto_streams.wire.plans import ClassForecast, Load, Plan

Fields = dict[str, Any]

NO_PLAN = (
    "no plan: calls go to the partitions in turn, and every worker owns some of each class. Plans are made by "
    "`alto-streams worker --scheduler` once calls come, for the policy prompt_aware (ALTO_POLICY)"
)


def fields(known: SchedulerState, model: str) -> Fields:
    """All that is shown of a model; ages in seconds, lengths in tokens, `rate` in calls a second."""
    plan, forecast, at_ms = known.plans.get(model), known.forecasts.get(model), known.at_ms
    states = known.statistics.classes(model, at_ms)
    expected = forecast.classes if forecast is not None else {}
    names = sorted({*states, *expected, *(plan.owners if plan is not None else ())})
    return {
        "model": model,
        "at": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "plan": None if plan is None else _plan(plan, at_ms),
        "forecast_age_s": None if forecast is None else _age(at_ms, forecast.at_ms),
        "classes": {name: _class(states.get(name), expected.get(name)) for name in names},
        "workers": _workers(known, model, plan),
        "without_loads": known.without_loads,
    }


def _plan(plan: Plan, at_ms: int) -> Fields:
    return {
        "version": plan.version,
        "cause": plan.cause,
        "age_s": _age(at_ms, plan.at_ms),
        "busy": plan.busy,
        "owners": {name: dict(Counter(owners)) for name, owners in plan.owners.items()},
        "weights": plan.weights,
    }


def _class(state: ClassState | None, expected: ClassForecast | None) -> Fields:
    """As learned from the last reports; without any as published, and without that as assumed."""
    is_seen = state is not None and state.calls > 0
    source: Any = state if is_seen or expected is None else expected
    return {
        "calls": state.calls if state is not None else 0,
        "rate": round(state.rate if state is not None else 0.0, 4),
        **{name: round(getattr(source, name), 1) for name in ("prompt_tokens", "output_tokens", "output_upper")},
        "prefix_tokens": round(source.prefix_tokens, 1),
        "hit_rate": round(state.hit_rate, 4) if state is not None and state.prefix_tokens else None,
        "call_s": round(source.call_s, 4),
        "rest_s": expected.rest_s if expected is not None else None,
    }


def _workers(known: SchedulerState, model: str, plan: Plan | None) -> Fields:
    """Everybody who is planned for, has reported, or tells a load."""
    sums, there = known.statistics.sums(model).workers, known.statistics.workers(model, known.at_ms)
    loads = known.loads.get(model, {})
    found = {}
    for name in sorted({*(plan.busy if plan is not None else ()), *sums, *loads}):
        said, state, load = sums.get(name), there.get(name), loads.get(name)
        found[name] = {
            "state": "there" if state else "gone" if said and said.left else "silent" if said else "unheard of",
            "engine": said.engine if said else "",
            "reported_s": _age(known.at_ms, said.last_ms) if said else None,
            "speed": round(state.speed, 4) if state else None,
            "hit_rate": round(state.hit_rate, 4) if state else None,
            "slots": said.slots if said else None,
            "load": None if load is None else _load(load, known.at_ms),
            "follows": None if plan is None or load is None else _follows(plan, name, load),
        }
    return found


def _load(load: Load, at_ms: int) -> Fields:
    return {
        "age_s": _age(at_ms, load.at_ms),
        "stale": at_ms - load.at_ms > STALE_MS,
        "running": load.running,
        "waiting": load.waiting,
        "work": sum(load.work.values()),
        "warm": load.warm,
        "owned": {name: len(mine) for name, mine in load.owned.items()},
    }


def _follows(plan: Plan, worker: str, load: Load) -> bool:
    planned = {name: [p for p, each in enumerate(owners) if each == worker] for name, owners in plan.owners.items()}
    return {name: mine for name, mine in planned.items() if mine} == {n: sorted(o) for n, o in load.owned.items() if o}


def _age(at_ms: int, then_ms: int) -> float:
    return max(0, at_ms - then_ms) / 1000


# --- tables


def drawn(shown: Fields) -> Iterator[RenderableType]:
    """A heading, and a table each for the plan, the classes and the workers."""
    plan, names, workers = shown["plan"], short_names(shown["workers"]), shown["workers"]
    heading = Text(f"model {shown['model']}", style="bold")
    if plan is not None:
        heading.append(f"  plan {plan['version']}, {ago(plan['age_s'])} old: {plan['cause']}", style="not bold")
    yield heading
    stages = stages_of(shown["classes"])
    if plan is None:
        yield Text(NO_PLAN)
    else:
        yield _plan_table(plan, stages, names, workers)
        yield Text("partitions · share of the class's work; busy: work over speed, the mean is 1.00", "dim")
    if plan is not None and any(each["follows"] is False for each in workers.values()):
        yield Text("* owns other partitions now: a rebalance is under way, or a worker has gone")
    yield Text()
    yield _class_table(shown["classes"], stages)
    yield Text("lengths in tokens; rest: from the end of a call to that of its request", "dim")
    if unseen := [stages[name] for name, each in shown["classes"].items() if not each["calls"]]:
        yield Text(f"no call of {', '.join(unseen)} in the last ten minutes: as before, or assumed", "dim")
    yield Text()
    yield _worker_table(workers, names, stages)
    if shown["without_loads"] or not any(each["load"] for each in workers.values()):
        why = f" ({shown['without_loads']})" if shown["without_loads"] else ""
        yield Text(f"no loads: dispatch goes by the plan's weights{why}" if plan is not None else f"no loads{why}")
    yield Text()


def _plan_table(plan: Fields, stages: Mapping[str, str], names: Mapping[str, str], workers: Fields) -> Table:
    found = table("owner", "speed", "busy", *(stages[name] for name in plan["owners"]))
    for worker in sorted({*plan["busy"], *(each for owners in plan["owners"].values() for each in owners)}):
        known = workers.get(worker, {})
        cells = [names.get(worker, worker) + ("*" if known.get("follows") is False else "")]
        cells += [number(known.get("speed"), 2), number(plan["busy"].get(worker), 2)]
        for name, owners in plan["owners"].items():
            count, weight = owners.get(worker, 0), plan["weights"].get(name, {}).get(worker, 0.0)
            cells.append(f"{count} · {weight:.0%}" if count else "-")
        found.add_row(*cells)
    return found


def _class_table(classes: Fields, stages: Mapping[str, str]) -> Table:
    found = table("class", "calls/s", "prompt", "prefix", "hit", "output", "9 of 10 below", "call", "rest")
    for name, each in classes.items():
        lengths = [number(each[of]) for of in ("prompt_tokens", "prefix_tokens")]
        lengths += [percent(each["hit_rate"]), number(each["output_tokens"]), number(each["output_upper"])]
        found.add_row(stages[name], number(each["rate"], 2), *lengths, *(_s(each[of]) for of in ("call_s", "rest_s")))
    return found


def _worker_table(workers: Fields, names: Mapping[str, str], stages: Mapping[str, str]) -> Table:
    found = table("worker", "state", "running", "waiting", "tokens", "load", "hit", "warm", "engine")
    found.columns[-1].justify = found.columns[-2].justify = found.columns[1].justify = "left"
    for worker, each in workers.items():
        load = each["load"] or {}
        state = each["state"] if each["state"] != "silent" else f"silent {ago(each['reported_s'])}"
        age = "-" if not load else f"{ago(load['age_s'])}{' stale' if load['stale'] else ''}"
        running = "-" if not load else f"{load['running']}/{each['slots'] or '?'}"
        cells = [names[worker], state, running, number(load.get("waiting")), number(load.get("work")), age]
        warm = ", ".join(stages.get(name, name) for name in load.get("warm", ()))
        found.add_row(*cells, percent(each["hit_rate"]), warm or "-", engine_name(each["engine"]))
    return found


def table(first: str, *others: str) -> Table:
    """Columns without lines; the first is of names, the others of figures."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    found.add_column(first.upper(), overflow="fold")
    for each in others:
        found.add_column(each.upper(), justify="right", overflow="fold")
    return found


def short_names(workers: Collection[str]) -> dict[str, str]:
    """Workers by the part of their URLs that tells them apart."""
    places = {name: urlsplit(name) for name in workers}
    hosts, ports = ({getattr(each, of) for each in places.values()} for of in ("hostname", "port"))
    if any(not each.netloc for each in places.values()):
        return {name: name for name in workers}
    if len(places) > 1 and len(hosts) == 1:
        return {name: f":{each.port}" for name, each in places.items()}
    if len(places) > 1 and len(ports) == 1:
        return {name: each.hostname or name for name, each in places.items()}
    return {name: each.netloc for name, each in places.items()}


def stages_of(classes: Sequence[str] | Fields) -> dict[str, str]:
    """Prompt classes by their stages alone, where all are of one pipeline."""
    is_one = len({name.partition(".")[0] for name in classes}) == 1
    return {name: name.partition(".")[2] if is_one else name for name in classes}


def engine_name(engine: str) -> str:
    """An engine without the folder of its file."""
    kind, _, file = engine.partition(" ")
    return f"{kind} {file.rsplit('/', 1)[-1]}" if kind == "scripted" else engine


def number(value: float | None, digits: int = 0) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(share: float | None) -> str:
    """A share, or a dash where there is none."""
    return "-" if share is None else f"{share:.0%}"


def ago(seconds: float) -> str:
    """`40 ms`, `2.5 s`, `3 min`, `2 h` or `4 d`."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _s(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
