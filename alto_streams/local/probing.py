"""What `up` asks the engines before it starts: which are away and why, and which cannot continue a broken call.

One round for all models, so that nobody learns of the second model's stages after the first one's have been put right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from alto_streams.agents.lm.needs import CONTINUES, examples_of, needs_of
from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import CallRejected, EngineUnavailable
from alto_streams.models.cards import Card, cards
from alto_streams.models.kinds import OPENAI
from alto_streams.models.registry import engine_for
from alto_streams.settings import Settings

ANSWER_S = 5.0

Stages = dict[str, list[str]]


@dataclass(slots=True)
class Probed:
    """`away`: model -> why its engine does not answer. `redo`: model -> stages whose broken calls it cannot continue.

    `unknown`: the stages of engines that are away, which may be able to. A stage is named `pipeline.stage`.
    """

    away: dict[str, str] = field(default_factory=dict)
    redo: Stages = field(default_factory=dict)
    unknown: Stages = field(default_factory=dict)

    def lines(self, *, redoes: bool) -> list[str]:
        """What a user is told, at most a line for each model and one for all that is done anew."""
        said = [f"model {model}: {why}; its calls wait until it answers" for model, why in sorted(self.away.items())]
        if self.redo:
            engines = "; ".join(f"{model}: {', '.join(stages)}" for model, stages in sorted(self.redo.items()))
            said.append(
                f"these engines cannot continue a call that broke in the middle ({engines}); such calls are written "
                f"anew, and their clients hear `retracted`, as with ALTO_REDO={','.join(chain(*self.redo.values()))}"
            )
        if self.unknown and not redoes:
            said.append("if an engine that is away cannot continue broken calls, its worker will say so; or add --redo")
        return said


def probe(config: Settings, pipelines: Iterable[Pipeline]) -> Probed:
    """Asks the servers of all models at once, for 5 s at most. May be called inside an event loop, which it blocks.

    Raises:
        ConfigError: a card is wrong.
    """
    stages: dict[str, list[tuple[Pipeline, str]]] = {}
    for pipeline in pipelines:
        for model, callers in pipeline.models().items():
            stages.setdefault(model, []).extend((pipeline, stage) for stage in callers)
    asked = {model: card for model, card in cards(config).items() if model in stages and card.kind is OPENAI}
    if not asked:
        return Probed()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _all(config, asked, stages)).result()


async def _all(config: Settings, asked: dict[str, Card], stages: dict[str, list[tuple[Pipeline, str]]]) -> Probed:
    probed = Probed()
    await asyncio.gather(*(_one(config, model, card, stages[model], probed) for model, card in asked.items()))
    return probed


async def _one(config: Settings, model: str, card: Card, stages: list[tuple[Pipeline, str]], probed: Probed) -> None:
    engine = engine_for(card, config)
    resumed = [
        name
        for pipeline, stage, example in examples_of(stages)
        if CONTINUES in needs_of(pipeline, stage, example) and (name := f"{pipeline.name}.{stage}") not in config.redo
    ]
    try:
        async with asyncio.timeout(ANSWER_S):
            await engine.ready()
        if not engine.capabilities.continues and resumed:
            probed.redo[model] = resumed
    except TimeoutError:
        probed.away[model] = f"{engine.name}: it has not answered within {ANSWER_S:g} s"
    except (EngineUnavailable, CallRejected) as error:
        probed.away[model] = str(error)
    finally:
        await engine.close()
    if model in probed.away and resumed:
        probed.unknown[model] = resumed
