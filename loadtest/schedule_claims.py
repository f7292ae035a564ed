"""What the scheduler has to show, and whether the figures show it."""

from __future__ import annotations

from typing import Any, NamedTuple

from alto_streams.scheduler.policies import PowerOfTwo, PromptAware, RoundRobin
from loadtest.schedule_figures import interval

HIT, DECISION_US, GOODPUT, LIKE_THREE, PLANNED_S = 0.9, 100.0, 0.9, 1.2, 1.0


class Claim(NamedTuple):
    """One line of the table. `by`: the confidence interval's half width, of what is a mean over seeds."""

    claim: str
    asked: str
    measured: str
    met: bool


def claims(found: dict[str, Any], session_s: float) -> list[Claim]:
    """Of what `measure_schedule` has found."""
    policies = found["policies"]
    ours = policies[PromptAware.name]
    lines = [_at_least(ours, policies[name], name, least) for name, least in _RATIOS.items()]
    for phase, mine in ours["phases"].items():
        others = {name: each["phases"][phase] for name, each in policies.items() if name != PromptAware.name}
        best = max(others, key=lambda name: others[name]["throughput_at_5600ms"])
        lines.append(_at_least(mine, others[best], f"the best other in phase {phase} ({best})", 0.95))
    places = [ours, *ours["phases"].values()]
    hit = min(min(each["prefix_hit"], each["prefix_hit_there"]) for each in places)
    lines.append(Claim("prefix tokens that hit, least of all phases and loads", f">= {HIT}", f"{hit:.3f}", hit >= HIT))
    p99_us = found["decision_p99_us"]
    lines.append(Claim("p99 of a decision", f"< {DECISION_US:g} us", f"{p99_us} us", p99_us < DECISION_US))
    kept, without = found["overload"]["least_slack_and_shedding"], found["overload"]["without"]
    told = (
        f"{kept['of_peak']:.3f} of {kept['peak']:.2f}/s (without: {without['of_peak']:.3f} of {without['peak']:.2f}/s)"
    )
    lines.append(
        Claim("goodput at 1.5 x the saturating load", f">= {GOODPUT} of its peak", told, kept["of_peak"] >= GOODPUT)
    )
    lost = found["loss"]
    within = session_s + PLANNED_S
    after_s, like = lost["plan_after_s"], lost["of_three_engines"]
    lines.append(Claim("a new plan after a loss", f"<= {within:g} s", f"{after_s:.1f} s", after_s <= within))
    gone = lost["lost_requests"]
    lines.append(Claim("requests lost with an engine", "0", f"{gone} of {lost['requests']}", not gone))
    told = f"{like:.2f} ({lost['p99_after_s']:.1f} s)"
    lines.append(Claim("p99 afterwards, by that of three engines", f"<= {LIKE_THREE}", told, like <= LIKE_THREE))
    return lines


_RATIOS = {RoundRobin.name: 1.4, PowerOfTwo.name: 1.1}


def _at_least(mine: dict[str, Any], other: dict[str, Any], name: str, least: float) -> Claim:
    """Ratios of the same seeds, which see the same arrivals."""
    pairs = zip(mine["throughput_by_seed"], other["throughput_by_seed"], strict=True)
    mean, half = interval([a / b for a, b in pairs])
    return Claim(f"throughput at mean 5.6 s, by {name}", f">= {least}", f"{mean:.2f} +- {half:.2f}", mean >= least)
