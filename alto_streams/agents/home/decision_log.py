"""What a home decides, where people look: counts of attempts and dead letters, lines for retries and what was raised.

Metrics and lines hold causes of a closed set, never words of a model, a server or a user. What a crash makes a home
decide again is told again.
"""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry, Counter

from alto_streams.log.letters import LetterCounts
from alto_streams.tables.decisions import Cause, Did
from alto_streams.tables.turns import Turn

log = logging.getLogger(__name__)


class DecisionLog:
    """Counts and logs the decisions of one stage's home. `stage`: as `<pipeline>.<stage>`."""

    def __init__(self, stage: str, registry: CollectorRegistry | None = None) -> None:
        self._stage = stage
        attempts = "Attempts of calls that had to follow another, by why that one ended"
        self._attempts = Counter("alto_attempts", attempts, ["stage", "cause"], registry=registry)
        self._letters = LetterCounts(registry)

    def take(self, turn: Turn) -> None:
        """A record has been applied."""
        for each in turn.decided:
            if each.did is Did.RETRIED:
                cause, at = each.cause or Cause.OTHER, turn.at
                self._attempts.labels(self._stage, cause).inc()
                log.warning(
                    *("%s: request %s, path %r: attempt %d begins, cause %s, by %s-%d@%d", self._stage, turn.request),
                    *(each.path, each.attempt, cause.value, at.topic, at.partition, at.offset),
                )
            elif each.did is Did.LETTER:
                self.letter(each.cause or Cause.OTHER)
                if each.trace:
                    at = turn.at
                    log.error(
                        *(
                            "%s: request %s, path %r: %s, by %s-%d@%d\n%s",
                            self._stage,
                            turn.request,
                            each.path,
                            each.why,
                        ),
                        *(at.topic, at.partition, at.offset, each.trace),
                    )

    def letter(self, cause: Cause, stage: str | None = None) -> None:
        """A dead letter is written, by this stage's home if no other part is named."""
        self._letters.count(stage or self._stage, cause)
