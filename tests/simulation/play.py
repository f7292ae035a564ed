"""One world of each kind, run and checked: what the tests, the long run and the hunt for mutants have in common."""

from __future__ import annotations

from dataclasses import dataclass

from alto_streams.wire.records import Chunk, HomeRecord, Mode, Start, Work, decoder
from alto_streams.wire.topic_names import home_topic, work_topic
from tests.simulation.checks import check
from tests.simulation.faults import CALM, NONE, RESTLESS, SKEWED, SLOW, WILD, Faults, Violation
from tests.simulation.redo import RedoWorld
from tests.simulation.redo_checks import check_redo
from tests.simulation.world import World

decode_work = decoder(Work)
decode_home = decoder(HomeRecord)  # type: ignore[arg-type,var-annotated]


@dataclass(frozen=True)
class Kind:
    """A kind of world, and what is promised in it beside what is promised everywhere."""

    faults: Faults
    mode: Mode = Mode.STREAM
    cancels: bool = False
    never_waits: bool = False
    never_retries: bool = False
    redoes: bool = False


KINDS = {
    "undisturbed": Kind(NONE),
    "undisturbed barrier": Kind(NONE, mode=Mode.BARRIER),
    "calm": Kind(CALM, never_waits=True),
    "wild": Kind(WILD),
    "wild barrier": Kind(WILD, mode=Mode.BARRIER),
    "cancelled": Kind(WILD, cancels=True),
    "restless": Kind(RESTLESS),
    "slow": Kind(SLOW, never_retries=True),
    "redo": Kind(CALM, redoes=True, never_waits=True),
    "redo wild": Kind(WILD, redoes=True),
    "redo skewed": Kind(SKEWED, redoes=True),
    "redo cancelled": Kind(WILD, redoes=True, cancels=True),
}


def play(name: str, seed: int) -> World:
    """Run one world to its end and check it. Raises `Violation` with the seed that replays it."""
    kind = KINDS[name]
    world: World
    if kind.redoes:
        world = RedoWorld(seed, kind.faults, cancels=kind.cancels)
    else:
        world = World(seed, kind.faults, mode=kind.mode, cancels=kind.cancels)
    try:
        world.run()
        if isinstance(world, RedoWorld):
            check_redo(world)
        else:
            check(world, may_be_cancelled=frozenset({world.cancelled} if world.cancelled else ()))
        late = world.done_ms >= world.started_ms + world.silence_ms
        if kind.never_waits and late and not a_dead_run_was_followed(world):
            raise Violation("a death was noticed only by a silence")
        if kind.never_retries:
            check_attempts(world)
    except Exception as error:
        raise Violation(f"ALTO_SIM_SEED={seed} ({name}): {type(error).__name__}: {error}") from error
    return world


def check_attempts(world: World) -> None:
    """Nobody has died and nothing was lost, so no attempt was given up."""
    for stages in world.pipeline.models().values():
        for stage in stages:
            for each in world.log.all_of(work_topic(world.pipeline.name, stage)):
                work = decode_work(each.value or b"")
                if work.attempt != 1:
                    raise Violation(f"{work.stage} at {work.path}: attempt {work.attempt} though nobody died")


def a_dead_run_was_followed(world: World) -> bool:
    """Whether the start of a run that died came after that of one that lived: the later start is followed while nothing
    of either has been accepted, and then only a silence tells."""
    starts: dict[tuple[str, str, str, int], list[str]] = {}
    chunks = set[str]()
    for stage in world.pipeline.stages:
        for each in world.log.all_of(home_topic(world.pipeline.name, stage)):
            record = decode_home(each.value or b"")
            if isinstance(record, Start):
                starts.setdefault((stage, record.request, record.path, record.attempt), []).append(record.run)
            elif isinstance(record, Chunk):
                chunks.add(record.run)
    return any(runs[-1] not in chunks and any(run in chunks for run in runs[:-1]) for runs in starts.values())
