"""vLLM's own asynchronous engine inside the LM worker (extra `vllm`): token ids in and out, no HTTP in between.

vLLM computes in a child process, its engine core; here are the tokenizer, the texts and the streams. A call that ends
the core is told as `EngineBroke`, and `ready` loads another core: the worker keeps its place in its group meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from alto_streams.errors import CallRejected, EngineBroke, EngineOverloaded, EngineUnavailable, TooLong
from alto_streams.models import guides
from alto_streams.models.protocol import Capabilities, EngineLoad, Piece, Usage
from alto_streams.models.stops import Stops
from alto_streams.models.units import Units
from alto_streams.models.vllm_loading import Loaded, Loader
from alto_streams.wire.records import Call, Message

log = logging.getLogger(__name__)

LOADING_S = 1.0  # that `ready` waits for an engine that is loading, before it says so
RETRY_S = 5.0  # between two tries to load: one that fails may take seconds of all cores
DRAIN_S = 5.0  # for the engine core to end by itself


class VllmEngine:
    """The model at a path, or of a name, that vLLM knows; loaded by the first `ready` or `generate`.

    `slots`: how many calls it runs at once. `silence_s`: how long it may say nothing within a run. `context_tokens`:
    where fewer shall be used than the model has. `sampling`: parameters for what a call leaves open. `chat_template`:
    in Jinja, instead of the model's own. `options`: further arguments of vLLM's `AsyncEngineArgs`, by name.
    """

    def __init__(
        self,
        model: str,
        *,
        slots: int = 8,
        silence_s: float = 30.0,
        context_tokens: int | None = None,
        sampling: Mapping[str, float] | None = None,
        chat_template: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._model, self._slots, self._silence_s = model, slots, silence_s
        self._sampling = {"temperature": 0.0, **(sampling or {})}
        bound = {} if context_tokens is None else {"max_model_len": context_tokens}
        self._loader = Loader(model, slots, {**bound, **(options or {})}, chat_template)
        self._loaded: Loaded | None = None
        self._loading: asyncio.Task[Loaded] | None = None
        self._failed = ""
        self._tried_s = -RETRY_S
        self._open: set[str] = set()
        self._closed = False

    @property
    def name(self) -> str:
        """`engine vllm:`, and the model."""
        return f"engine vllm:{self._model}"

    @property
    def capabilities(self) -> Capabilities:
        """Before it is loaded its context is not known."""
        context = self._loaded.context_tokens if self._loaded is not None else 0
        return Capabilities(
            self._slots,
            context,
            grammar=True,
            choices=True,
            json_schema=True,
            regex=True,
            logprobs=True,
            tokens=True,
            continues=True,
        )

    async def ready(self) -> None:
        """Load it if it is not loaded; a core that has died is loaded again.

        Raises:
            EngineUnavailable: it is loading, which may take minutes, or could not be loaded.
        """
        await self._ready()

    async def generate(
        self,
        call: Call,
        *,
        prefix: str = "",
        prefix_tokens: list[int] | None = None,
        prompt_class: str = "",
        by_line: bool = False,
        priority: int = 0,
    ) -> AsyncGenerator[Piece, None]:
        """Stream the completion; see `Engine.generate`. `prompt_class` is not used: vLLM knows prefixes itself.

        No empty piece comes first: what a call can break is the core's process, and this one tells of it.
        """
        loaded = await self._ready()
        ended = guides.ended(call, prefix)
        if ended is not None:
            yield Piece("", finish=ended)
            return
        prompt = await self._loader.aside(loaded.prompt, call.messages, prefix, prefix_tokens)
        self._check_length(loaded, len(prompt))
        params = self._params(call, prefix)
        units, stops = Units(loaded.decode, call.logprobs > 0), Stops(call.stop, prefix)
        usage = Usage(len(prompt))
        async with aclosing(self._outputs(loaded, prompt, params, priority)) as outputs:
            async for output in outputs:
                completion = output.outputs[0]
                piece = units.feed(completion)
                for due in stops.feed(piece) if piece is not None else ():
                    yield due
                usage = Usage(len(prompt), units.count, max(usage.cached_tokens, output.num_cached_tokens or 0))
                if stops.complete:
                    yield Piece("", finish="stop", usage=usage)
                    return
                if completion.finish_reason is not None:
                    self._check_end(str(completion.finish_reason))
        for due in stops.rest():
            yield due
        yield Piece("", finish="length" if units.finish == "length" else "stop", usage=usage)

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """The tokens of a prompt, its template's included."""
        loaded = await self._ready()
        return len(await self._loader.aside(loaded.prompt, messages, "", None))

    async def load(self) -> EngineLoad | None:
        """What its scheduler said last; None while no core runs."""
        if self._loaded is None:
            return None
        counts = self._loaded.counts
        return EngineLoad(counts.running, counts.waiting, counts.used, counts.queries, counts.hits)

    async def close(self) -> None:
        """Abort what still runs, and end the engine core: by itself within `DRAIN_S`, else it is killed."""
        self._closed = True
        loading, loaded = self._loading, self._loaded
        if loading is not None and not loading.done():
            await self._loader.give_up()
            await asyncio.wait({loading})
            loaded = None if loading.cancelled() or loading.exception() is not None else loading.result()
        if loaded is not None and not loaded.engine.errored and self._open:
            await loaded.engine.abort(list(self._open))
        self._loaded = self._loading = None
        await self._loader.close(loaded, DRAIN_S)

    async def _ready(self) -> Loaded:
        if self._closed:
            raise EngineUnavailable("closed", self.name)
        if self._loaded is not None and self._loaded.engine.errored:
            self._lose(self._loaded, "its engine core has died")
        if self._loaded is not None:
            return self._loaded
        if self._loading is None:
            self._begin_loading()
        assert self._loading is not None  # noqa: S101
        await asyncio.wait({self._loading}, timeout=LOADING_S)
        if self._loaded is None:
            raise EngineUnavailable(self._failed or self._loader.state, self.name)
        return self._loaded

    def _begin_loading(self) -> None:
        wait_s = self._tried_s + RETRY_S - time.monotonic()
        if wait_s > 0:
            raise EngineUnavailable(self._failed or "it loads again soon", self.name)
        self._tried_s, self._failed = time.monotonic(), ""
        self._loading = asyncio.get_running_loop().create_task(self._loader.load())
        self._loading.add_done_callback(self._on_loaded)

    def _on_loaded(self, loading: asyncio.Task[Loaded]) -> None:
        self._tried_s = time.monotonic()
        if self._closed or loading.cancelled():
            return
        self._loading, error = None, loading.exception()
        if error is None:
            self._loaded = loading.result()
            log.info("%s is loaded: %d tokens of context", self.name, self._loaded.context_tokens)
        else:  # vLLM's own words name paths and settings, and no text of a call's: none has been made yet
            self._failed = f"vLLM could not load it ({type(error).__name__}); see this worker's log"
            log.error("%s: vLLM could not load it: %s: %s", self.name, type(error).__name__, error)

    def _lose(self, loaded: Loaded, why: str) -> None:
        """Its core is no more, or of no use: the next one is loaded when it is asked for."""
        if self._loaded is loaded:
            self._loaded = None
            log.error("%s: %s", self.name, why)
            self._loader.discard(loaded)

    async def _outputs(
        self, loaded: Loaded, prompt: list[int], params: Any, priority: int
    ) -> AsyncGenerator[Any, None]:
        """What vLLM tells of one run. Closing this aborts it there."""
        run = uuid.uuid4().hex
        given = {"type": "token", "prompt_token_ids": prompt}
        outputs = loaded.engine.generate(given, params, run, priority=priority)
        self._open.add(run)
        try:
            async with aclosing(outputs):
                while True:
                    async with asyncio.timeout(self._silence_s):
                        output = await anext(outputs, None)
                    if output is None:
                        return
                    yield output
        except TimeoutError:
            if time.monotonic() - loaded.counts.heard_s > self._silence_s:  # not of other calls either
                self._lose(loaded, "its engine core hangs")
            raise EngineBroke(f"it has sent nothing for {self._silence_s:g} s", self.name) from None
        except (EngineUnavailable, CallRejected):
            raise
        except Exception as error:  # vLLM's classes of errors are known once it is imported
            raise self._told(loaded, error) from None
        finally:
            self._open.discard(run)

    def _told(self, loaded: Loaded, error: Exception) -> Exception:
        """What an error of vLLM's means. Its text may quote the call, so it is not passed on."""
        kind = type(error).__name__
        if loaded.engine.errored:
            self._lose(loaded, "its engine core has died")
            return EngineUnavailable("closed", self.name) if self._closed else EngineBroke("its core died", self.name)
        if kind in ("QueueOverflowError", "MaxQueuedTokensError"):
            return EngineOverloaded("vLLM's queue is full", self.name)
        if isinstance(error, ValueError) or loaded.is_clients(error):
            field = getattr(error, "parameter", None)
            return CallRejected(f"vLLM refuses it ({kind}{f': {field}' if field else ''})", self.name)
        return EngineBroke(f"vLLM failed ({kind})", self.name)

    def _params(self, call: Call, prefix: str) -> Any:
        """vLLM's parameters of the call.

        Stop sequences stay in its output, for then it holds back no text whose tokens it tells: `Stops` does.
        """
        guide = guides.guide_of(call, prefix)
        constraint = guides.vllm(guide)["structured_outputs"] if guide is not None else None
        given: dict[str, Any] = {
            **self._sampling,
            **({} if call.temperature is None else {"temperature": call.temperature}),
            "max_tokens": call.max_tokens,
            "seed": call.seed,
            "stop": [stop for stop in call.stop if stop],
            "include_stop_str_in_output": True,
            "logprobs": call.logprobs or None,
        }
        try:
            return self._loader.params(given, constraint)
        except Exception as error:  # of its own class, and of those of the libraries that check
            raise CallRejected(f"vLLM refuses its parameters ({type(error).__name__})", self.name) from None

    def _check_length(self, loaded: Loaded, prompt: int) -> None:
        """What is longer than the context when it is written vLLM ends there, by length."""
        if prompt >= loaded.context_tokens:
            told = f"its {prompt} tokens leave no room to write in the context of {loaded.context_tokens}"
            raise TooLong(told, self.name)

    def _check_end(self, reason: str) -> None:
        if reason == "abort" and self._closed:
            raise EngineUnavailable("closed", self.name)
        if reason not in ("stop", "length"):
            raise EngineBroke(f"the engine gave the run up ({reason})", self.name)
