"""The LM worker: takes work items, runs them on its engine, and appends what comes out to each call's home.

It knows nothing of a call's past: which of several runs counts is for the home to say. A work item is acknowledged only
when its run has ended and every chunk of it is in the log, or when the control log says that the attempt is over.

A run begins in the log with its first chunk: until then its home waits, and no attempt is used up however long the
engine is away or overloaded. Only an engine that took the call and then failed is told at once, as a start that is
followed by another: the call may be what breaks it, and starts are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time

from alto_streams.agents.lm.away import Trouble
from alto_streams.agents.lm.control import ControlLog
from alto_streams.agents.lm.needs import cannot_continue
from alto_streams.agents.lm.reach import Reach
from alto_streams.agents.lm.run import Run, RunLog
from alto_streams.agents.lm.tally import Tally
from alto_streams.errors import CallRejected, EngineBroke, EngineUnavailable, Fenced, Poison, Retryable
from alto_streams.models.lengths import Lengths
from alto_streams.models.protocol import Engine, Piece
from alto_streams.parts import Backoff
from alto_streams.scheduler.slack import priority
from alto_streams.wire.paths import covers
from alto_streams.wire.records import ControlRecord, End, Status, Work

log = logging.getLogger(__name__)

BACK_SOON_S, SOON_S = 15.0, 0.3  # how long an engine that died is asked for often, and how often
PATIENCE_MOST_S = 60.0  # however long an overloaded engine asks to be left alone
MADE_MOST = 10_000  # items that are known to have been made, should they be delivered again
COMMITTED_S = 10.0  # by then what is acknowledged is committed: a commit a second, and a broker's pause

_Key = tuple[str, str, str]  # request, stage, path


class LMAgent:
    """One model's engine and the calls that run on it."""

    def __init__(
        self,
        engine: Engine,
        control: ControlLog,
        log_: RunLog,
        tally: Tally | None = None,
        lengths: Lengths | None = None,
    ) -> None:
        self._lengths = lengths or Lengths(engine)
        self._engine, self._control, self._log = engine, control, log_
        self._tally, self.reach, self.trouble = tally or Tally(), Reach(engine), Trouble()
        self._engine_down = True  # until it has said otherwise
        self._running: dict[_Key, tuple[int, asyncio.Task[None], float]] = {}  # with when each began, in that order
        self._made: dict[_Key, tuple[int, float]] = {}  # attempts whose runs are in the log, to their end; and when
        self.waits_for: str | None = None  # an engine that cannot be reached
        self.moves = 0  # pieces that the engine has given since the start, and tries that were given up

    async def handle(self, work: Work, pipeline: str) -> None:
        """Make one attempt of one call. When it returns the work item may be acknowledged.

        Raises:
            Fenced: this worker may no longer produce.
        """
        key = (work.request, work.stage, work.path)
        while True:
            if self._control.is_over(work) or self._expired(work):
                return
            attempt, known, _ = self._running.get(key, (work.attempt, None, 0.0))
            if attempt > work.attempt or self._made.get(key, (0, 0.0))[0] >= work.attempt:
                return
            if known is None:
                break
            if attempt < work.attempt:
                known.cancel()  # there is a newer attempt, so this one is over
                break
            # This worker holds the same item already, from before a rebalance: this one ends with it, and not before,
            # for only its acknowledgement counts now.
            await asyncio.wait({known})
            if known.cancelled() or known.exception() is None:
                return
        task = asyncio.get_running_loop().create_task(self._until_done(work, pipeline))
        self._running.pop(key, None)
        self._running[key] = running = work.attempt, task, time.monotonic()
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                task.cancel()
                raise
            if (current := asyncio.current_task()) is not None and current.cancelling():
                raise
        else:
            self._remember(key, work.attempt)
        finally:
            if self._running.get(key) == running:
                del self._running[key]
            if not self._running:
                self.waits_for = None  # nothing waits

    def knows(self, work: Work) -> bool:
        """Whether the attempt runs here, has been made here, or is over: whoever may not begin it loses nothing."""
        key = (work.request, work.stage, work.path)
        return key in self._running or key in self._made or self._control.is_over(work)

    def on_over(self, record: ControlRecord) -> None:
        """The control log says that something is over: abort its runs."""
        for (request, stage, path), (attempt, task, _) in list(self._running.items()):
            if covers(record, request, stage, path, attempt):
                task.cancel()

    def _remember(self, key: _Key, attempt: int) -> None:
        """It is made. It comes again only where it was not committed, because one that began before it still ran.

        What is forgotten too soon would be made twice, and its home would follow one.
        """
        made_s = time.monotonic()
        self._made.pop(key, None)
        self._made[key] = attempt, made_s
        oldest = next((began_s for _, _, began_s in self._running.values()), made_s)
        while len(self._made) > MADE_MOST or next(iter(self._made.values()))[1] < oldest - COMMITTED_S:
            del self._made[next(iter(self._made))]

    async def _until_done(self, work: Work, pipeline: str) -> None:
        """Runs until one has ended: a run that the log or the engine broke off begins again under a new id."""
        backoff = Backoff()
        while True:
            try:
                return await self._run(work, pipeline)
            except Retryable as error:
                wait_s = backoff.next_s()
                log.warning("%s: a run of attempt %d broke off: %s", work.request, work.attempt, error)
                await asyncio.sleep(wait_s)
            except EngineUnavailable as error:
                self.waits_for = str(error)
                self.reach.failed()
                self.trouble.failed(error)
                self.moves += 1  # a try that was given up is progress: what hangs gives nothing up
                asked_s = min(getattr(error, "retry_after_s", None) or 0.0, PATIENCE_MOST_S)
                wait_s = asked_s * random.uniform(1.0, 1.25) or backoff.next_s()
                log.warning("%s; waiting %.1f s", error, wait_s)
                await asyncio.sleep(wait_s)

    async def _engine_ready(self, backoff: Backoff) -> None:
        began_s = time.monotonic()
        while True:
            try:
                await self._engine.ready()
                self._engine_down, self.waits_for = False, None
                self.reach.reached()
                self.trouble.over()
                return
            except (EngineUnavailable, CallRejected) as error:  # what it refuses here is our question, and no call
                self.waits_for = str(error)
                self.reach.failed()
                self.trouble.failed(error)
                wait_s = backoff.next_s()
                is_patient = getattr(error, "retry_after_s", None) is not None
                if (
                    not is_patient and time.monotonic() - began_s < BACK_SOON_S
                ):  # its supervisor starts it again at this moment
                    wait_s = min(wait_s, SOON_S)
                log.warning("%s; waiting %.1f s", error, wait_s)
                await asyncio.sleep(wait_s)

    async def _run(self, work: Work, pipeline: str) -> None:
        if self._engine_down:  # ask whether it is there before it is given anything
            await self._engine_ready(Backoff())
        run = Run(work, self._log)
        await run.finish(self._refused(work) or await self._generate(work, pipeline, run))

    async def _generate(self, work: Work, pipeline: str, run: Run) -> End:
        """How the run ended in the engine, whose call is over by then in any case."""
        last, is_taken, prompt_class = Piece(""), False, f"{pipeline}.{work.stage}"
        counted = self._tally.begin(prompt_class)
        try:
            pieces = self._engine.generate(
                await self._lengths.fitted(work.call, prompt_class, work.prefix, work.prefix_tokens),
                prefix=work.prefix,
                prefix_tokens=work.prefix_tokens,
                prompt_class=prompt_class,
                by_line=work.flush == "line",
                priority=priority(work.receipt, int(time.time() * 1000)),
            )
            async with contextlib.aclosing(pieces):  # type: ignore[type-var]
                async for last in pieces:
                    self.waits_for, is_taken = None, True
                    self.trouble.over()
                    self.moves += 1
                    self._tally.heard(counted, last)
                    await run.add(last)
            self._tally.ended(counted, last.usage)
        except CallRejected as error:
            log.warning("%s: the engine %s refuses the call: %s", work.request, self._engine.name, error.cause)
            return End(Status.FAILED, "rejected", error.cause)
        except EngineUnavailable as error:
            self._engine_down = True
            if is_taken or isinstance(error, EngineBroke):  # such tries are counted: the call may be what breaks it
                await run.tell_start()
            if not run.seq:
                raise  # nothing was published: the same attempt begins again once the engine is back
            log.warning("%s: %s; the next attempt continues", work.request, error)
            return End(Status.FAILED, "error", error.cause)
        except (Retryable, Fenced, Poison):
            raise
        except Exception as error:
            # An engine's own mistake: left unacknowledged, its work item would hold up the partition for ever.
            kind = type(error).__name__
            log.warning("%s: the engine %s raised %s", work.request, self._engine.name, kind)
            return End(Status.FAILED, "error", f"the engine raised {kind}")
        finally:
            self._tally.leave()
        usage = last.usage
        return End(
            Status.OK, last.finish or "stop", prompt_tokens=usage.prompt_tokens, output_tokens=usage.output_tokens
        )

    def _refused(self, work: Work) -> End | None:
        """Why this engine cannot make this attempt, if it cannot."""
        if not work.prefix or self._engine.capabilities.continues:
            return None
        log.warning("%s: the engine %s cannot continue a call that broke off", work.request, self._engine.name)
        return End(Status.FAILED, "rejected", cannot_continue(work.model, work.stage))

    @staticmethod
    def _expired(work: Work) -> bool:
        deadline = work.context.deadline_ms
        return deadline is not None and deadline < time.time() * 1000
