"""Loads vLLM, in a thread of its own: importing it takes seconds, loading weights minutes, and neither may block.

Its engine core is spawned, not forked: this process has threads and connections. `vllm_core` runs there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from alto_streams.errors import CallRejected
from alto_streams.models.vllm_core import PARENT
from alto_streams.wire.records import Message

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class SchedulerCounts:
    """What vLLM's scheduler tells after each step: calls now, and tokens in all. `heard_s`: when (monotonic).

    `used`: the fraction of its KV cache in use. `queries`, `hits`: prompt tokens that were looked up in the prefix
    cache, and those found there.
    """

    running: int = 0
    waiting: int = 0
    used: float = 0.0
    queries: int = 0
    hits: int = 0
    heard_s: float = field(default_factory=time.monotonic)

    # What follows is vLLM's `StatLoggerBase`, which is not inherited since it need not be installed.

    def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
        """One step's statistics."""
        self.heard_s = time.monotonic()
        if scheduler_stats is None:
            return
        self.running = scheduler_stats.num_running_reqs
        self.waiting = scheduler_stats.num_waiting_reqs + getattr(scheduler_stats, "num_skipped_waiting_reqs", 0)
        self.used = scheduler_stats.kv_cache_usage
        self.queries += scheduler_stats.prefix_cache_stats.queries
        self.hits += scheduler_stats.prefix_cache_stats.hits

    def log_engine_initialized(self) -> None:
        """Nothing is logged."""

    def log(self) -> None:
        """Nothing is logged."""

    def record_sleep_state(self, *_: Any) -> None:
        """It never sleeps."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A running engine: vLLM's `AsyncLLM`, its tokenizer, and what its scheduler tells.

    `chat_template`: None for the tokenizer's own.
    """

    engine: Any
    tokenizer: Any
    context_tokens: int
    counts: SchedulerCounts
    client_error: type[Exception]
    chat_template: str | None = None

    def is_clients(self, error: Exception) -> bool:
        """Whether vLLM blames the call."""
        return isinstance(error, self.client_error)

    def decode(self, tokens: Sequence[int]) -> str:
        """Their text, without special tokens."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def prompt(self, messages: Sequence[Message], prefix: str, prefix_tokens: list[int] | None) -> list[int]:
        """The token ids to go on from: its turns by the model's own chat template, then the prefix.

        `prefix_tokens` are taken if they are exactly the prefix, else the prefix is made into tokens.

        Raises:
            CallRejected: the template refuses the turns, or the prefix is no text of this model's tokens.
        """
        turns = [{"role": turn.role, "content": turn.content} for turn in messages]
        # A last turn that is the assistant's own is open: what is written is more of it.
        is_open = bool(turns) and turns[-1]["role"] == "assistant" and bool(turns[-1]["content"])
        try:
            text = self.tokenizer.apply_chat_template(
                turns,
                chat_template=self.chat_template,
                continue_final_message=is_open,
                add_generation_prompt=not is_open,
                tokenize=False,
            )
        except Exception as error:  # a template is a program, and raises what it likes
            raise CallRejected(f"the model's chat template refuses its turns ({type(error).__name__})") from None
        head = self._encode(text)
        if not prefix:
            return head
        if prefix_tokens and self._reads_as(head, prefix_tokens, prefix):
            return head + prefix_tokens
        tokens = self._encode(prefix)
        if not self._reads_as(head, tokens, prefix):
            raise CallRejected("the accepted text cannot be written in this model's tokens, so it cannot go on from it")
        return head + tokens

    def _encode(self, text: str) -> list[int]:
        return [int(token) for token in self.tokenizer.encode(text, add_special_tokens=False)]

    def _reads_as(self, head: list[int], tokens: list[int], text: str) -> bool:
        """Behind the last tokens of the head, where some tokenizers read a word's beginning otherwise than alone."""
        if not all(0 <= token < len(self.tokenizer) for token in tokens):
            return False
        before = head[-4:]
        return self._verbatim(before + tokens) == self._verbatim(before) + text

    def _verbatim(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))


class Loader:
    """Loads one model, again if need be, and does what takes long in its own thread, one thing after the other."""

    def __init__(self, model: str, slots: int, options: Mapping[str, Any], chat_template: str | None = None) -> None:
        self._chat_template = chat_template
        self._options = {
            "model": model,
            "max_num_seqs": slots,
            "scheduling_policy": "priority",
            "enable_prefix_caching": True,
            "disable_log_stats": True,  # the loggers of its own, not ours
            **options,
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vllm")
        self._began_s: float | None = None
        self._gave_up = False

    @property
    def state(self) -> str:
        """What to say of an engine that is not there yet."""
        return "loading" if self._began_s is None else f"loading, for {time.monotonic() - self._began_s:.0f} s now"

    async def aside(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the action returns; the event loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, functools.partial(action, *args, **kwargs)
        )

    async def load(self) -> Loaded:
        """A running engine. Raises whatever vLLM raises."""
        self._began_s = time.monotonic()
        return await self.aside(self._load)

    async def give_up(self) -> None:
        """Let the `load` that is under way fail: its core is killed, now or as soon as there is one."""
        self._gave_up = True
        for _ in range(100):
            for child in _cores():
                child.kill()
                return
            await asyncio.sleep(0.05)

    def params(self, given: Mapping[str, Any], constraint: Mapping[str, Any] | None) -> Any:
        """vLLM's `SamplingParams` for a streamed run. Raises `ValueError`: what is given is out of its bounds."""
        module = importlib.import_module("vllm.sampling_params")
        bound = module.StructuredOutputsParams(**constraint) if constraint is not None else None
        kind = module.RequestOutputKind.DELTA
        return module.SamplingParams(**given, structured_outputs=bound, output_kind=kind)

    def discard(self, loaded: Loaded) -> None:
        """End what is left of it, without waiting for that."""
        self._thread.submit(loaded.engine.shutdown, 0.0)

    async def close(self, loaded: Loaded | None, drain_s: float) -> None:
        """End the engine core and the thread."""
        if loaded is not None:
            await self.aside(loaded.engine.shutdown, drain_s)
        self._thread.shutdown(wait=False)

    def _load(self) -> Loaded:
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        os.environ[PARENT] = str(os.getpid())
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        args = importlib.import_module("vllm.engine.arg_utils").AsyncEngineArgs(**self._options)
        async_llm = importlib.import_module("vllm.v1.engine.async_llm").AsyncLLM
        client_error = importlib.import_module("vllm.exceptions").VLLMClientError
        with contextlib.suppress(ImportError):
            importlib.import_module("xgrammar")  # else the first grammar would import it, in the event loop
        if self._gave_up:
            raise RuntimeError("closed while it was loading")
        counts = SchedulerCounts()
        engine = async_llm.from_engine_args(args, stat_loggers=[lambda *_, **__: counts])
        context, tokenizer = engine.model_config.max_model_len, engine.get_tokenizer()
        return Loaded(engine, tokenizer, context, counts, client_error, self._chat_template)


def _cores() -> list[Any]:
    return [child for child in multiprocessing.active_children() if child.name.startswith("EngineCore")]
