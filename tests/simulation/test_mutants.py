"""The simulation is only worth what it finds: each rule left out is noticed within some hundred seeds."""

from __future__ import annotations

import pytest

from tests.simulation import mutants
from tests.simulation.faults import Violation
from tests.simulation.mutants import Mutant
from tests.simulation.play import play

SEEDS = 400


def violation(kind: str) -> str:
    """What the first seed that shows it says; empty if none of them does."""
    for seed in range(SEEDS):
        try:
            play(kind, seed)
        except Violation as error:
            return str(error)
    return ""


CASES: list[tuple[Mutant, str]] = [
    (mutants.dedupe_off, "wild"),
    (mutants.offset_before_record, "calm"),
    (mutants.offset_before_row, "wild"),
    (mutants.row_before_what_it_asks_for, "wild"),
    (mutants.marker_forgotten_early, "wild"),
    (mutants.finished_rows_rise, "calm"),
    (mutants.lower_offset_wins, "restless"),
    (mutants.no_generation_in_key, "restless"),
    (mutants.second_start_ignored, "calm"),
    (mutants.second_start_followed_after_text, "calm"),
    (mutants.runs_mixed, "calm"),
    (mutants.holes_skipped, "calm"),
    (mutants.older_attempts_accepted, "wild"),
    (mutants.stale_timer_obeyed, "slow"),
    (mutants.prefix_off_by_one, "calm"),
    (mutants.numbering_begins_anew, "calm"),
    (mutants.closes_counted_twice, "wild"),
    (mutants.closes_ignore_children, "calm"),
    (mutants.failed_driver_is_silent, "calm"),
    (mutants.early_gather, "calm"),
    (mutants.retraction_not_cascaded, "redo"),
    (mutants.epoch_not_raised, "redo"),
    (mutants.replacement_is_no_retraction, "redo skewed"),
    (mutants.dead_paths_live_on, "redo wild"),
    (mutants.redone_text_is_kept, "redo"),
]


@pytest.mark.parametrize(("mutant", "kind"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_rule_left_out_is_noticed(mutant: Mutant, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    found = violation(kind)
    assert "ALTO_SIM_SEED=" in found
    assert not any(f"{mistake}Error" in found for mistake in ("Name", "Attribute", "Type")), "the mutant is broken"


def test_a_seed_replays_its_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants.offset_before_row(monkeypatch)
    found = violation("wild")
    assert found
    seed = int(found.partition("=")[2].partition(" ")[0])
    with pytest.raises(Violation) as again:
        play("wild", seed)
    assert str(again.value) == found
