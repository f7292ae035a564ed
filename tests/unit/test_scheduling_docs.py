"""docs/scheduling.md says what the code does: its names, settings, options and figures are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alto_streams.agents.lm.reach import AWAY_S
from alto_streams.agents.scheduler.agent import LOST
from alto_streams.agents.scheduler.metrics import SchedulerMetrics
from alto_streams.cli import run_command
from alto_streams.cli.dispatch_view import REASONS
from alto_streams.scheduler import policies, slack
from alto_streams.scheduler.loads import STALE_MS
from alto_streams.scheduler.planner import SLOW, Planner
from alto_streams.scheduler.statistics import Statistics
from alto_streams.settings import Settings
from alto_streams.wire.plans import PREFILL

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "scheduling.md").read_text()
FLAT = " ".join(TEXT.split())
SOURCES = {
    file: (ROOT / "alto_streams" / file).read_text()
    for file in (
        "agents/lm/app.py",
        "agents/home/app.py",
        "agents/scheduler/load_feed.py",
        "agents/scheduler/dispatching.py",
    )
}


def rows(heading: str) -> list[str]:
    """The first cells of the table with this heading, as they are written."""
    (table,) = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return [line.split("|")[1].strip() for line in table.splitlines()]


def test_every_policy_has_its_row() -> None:
    assert {row.strip("`") for row in rows("`ALTO_POLICY`")} == set(policies.POLICIES)
    assert f"`{Settings.model_fields['policy'].default}`" in TEXT


def test_every_reason_has_its_row() -> None:
    assert {word for row in rows("why") for word in re.findall(r"`(\w+)`", row)} == set(REASONS)


def test_the_metrics_are_those_that_are_exported() -> None:
    scheduler = SimpleNamespace(
        statistics=Statistics(), feed=SimpleNamespace(plans={}), scheduler=SimpleNamespace(is_active=True)
    )
    exported = {family.name for family in SchedulerMetrics(["judge"], cast("Any", scheduler)).collect()}
    exported |= {
        f"{name}_total" for name in re.findall(r'Counter\("(alto_\w+)"', SOURCES["agents/scheduler/load_feed.py"])
    }
    exported |= {name for source in SOURCES.values() for name in re.findall(r'Gauge\(\s*"(alto_\w+)"', source)}
    exported -= {"alto_simulated_engine_cpu_seconds", "alto_rows"}
    assert set(re.findall(r"`(alto_[a-z_]+)", TEXT)) == exported


def test_its_settings_exist() -> None:
    named = set(re.findall(r"`ALTO_([A-Z_]+)`", TEXT))
    assert {"POLICY", "WARM_CLASSES"} <= named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_its_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("scheduler show", "scheduler explain", "replay", "record", "diff", "worker"):
        assert run_command([*command.split(), "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    assert {"--policy", "--lose-engine", "--json", "--stage"} <= named
    assert named <= known


@pytest.mark.parametrize(
    "said",
    [
        f"({policies.ESCAPE:g} times, and {policies.SLACK:g} tokens)",
        f"1/{1 / PREFILL:g} for each of the prompt",
        f"A load older than {STALE_MS / 1000:g} s",
        f"less than {SLOW:g} of the speed",
        f"for {LOST:g} of the session timeout",
        f"reported nothing for {LOST:g} of it",
        f"not reached it for {AWAY_S:g} s",
        f"begin {slack.PATIENCE_MS / 1000:g} s after it came",
        f"less than {slack.ROOM:g} of its slots",
        "15 % less to do, in five looks on end, 30 s after",
    ],
)
def test_its_figures_are_the_codes(said: str) -> None:
    assert said in FLAT


def test_its_figures_of_new_plans_are_the_planners() -> None:
    defaults = Planner.__init__.__kwdefaults__ or {}
    assert (defaults["gain"], defaults["ticks"], defaults["interval_s"]) == (0.15, 5, 30.0)
