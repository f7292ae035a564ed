"""What OpenAI-compatible servers do differently: how a turn is continued, and token ids got (`guides`: constraints).

vLLM follows https://docs.vllm.ai "OpenAI-Compatible Server" (`continue_final_message`, `return_token_ids`);
llama.cpp follows its `tools/server/README.md` (`grammar`, `/apply-template`, `/completion`);
SGLang follows https://docs.sglang.io "OpenAI APIs" (`continue_final_message`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from alto_streams.errors import CallRejected
from alto_streams.models import guides
from alto_streams.models.protocol import Capabilities
from alto_streams.wire.records import Call

Json = dict[str, Any]
CONTINUE = "Continue this text from exactly where it ends. Write only what comes next."
Name = Literal["vllm", "llama.cpp", "sglang", "openai"]
NAMES: tuple[Name, ...] = ("vllm", "llama.cpp", "sglang", "openai")
_COUNTING = ("vllm", "sglang")  # they tell with each event, if asked to, how many tokens it took


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server.

    `guide`: a constraint in its words. `constrains`: it keeps to all kinds of them, not to JSON schemas alone.
    `reuses`: whether a connection may carry another request after a streamed reply (llama.cpp closes it, so a second
    request on it fails). `tokens`: it tells token ids, and a run can also continue from them, by a route of its own.
    """

    name: Name
    guide: Callable[[guides.Guide], Json]
    continues: bool
    constrains: bool
    reuses: bool
    tokens: bool

    def chat_body(self, call: Call, model: str, prefix: str) -> Json:
        """The body of `POST /chat/completions`.

        Raises:
            CallRejected: the call must continue a turn, or be constrained, in a way that this server cannot.
        """
        opened = opened_turn(call)
        if prefix and not self.continues:
            raise CallRejected("it cannot continue an assistant's turn: if it can, name its dialect in ALTO_MODELS")
        turns = call.messages[:-1] if opened else call.messages
        messages = [{"role": message.role, "content": message.content} for message in turns]
        if opened and not self.continues:  # the nearest that such a server offers: being asked to
            messages.append({"role": "user", "content": f"{CONTINUE}\n\n{opened}"})
            opened = ""
        body: Json = {"model": model, "messages": messages, "max_tokens": call.max_tokens, **self._sampling(call)}
        body |= {"stream_options": self._usage()}
        if opened or prefix:
            # A last turn that is the assistant's own is open, so what it wrote already is more of the same turn.
            messages.append({"role": "assistant", "content": opened + prefix})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        body |= self._constraint(call, prefix)
        alternatives = call.logprobs
        if self.tokens:
            body |= self._told()
        if self.name == "llama.cpp":  # it tells a token's id only together with its log-probability
            alternatives = max(1, call.logprobs)
        if alternatives:
            body |= {"logprobs": True, "top_logprobs": alternatives}
        return body

    def tokens_body(
        self, call: Call, model: str, prompt: str | list[int], prefix: str, prefix_tokens: list[int]
    ) -> Json:
        """The body of the route that takes token ids: `POST /v1/completions`, or llama.cpp's `POST /completion`.

        `prompt`: the templated prompt, as ids; for llama.cpp as text, which it reads with its special tokens.
        """
        body = self._told() | self._sampling(call) | self._constraint(call, prefix)
        if isinstance(prompt, str):
            whole = [prompt, *prefix_tokens]
            return body | {"prompt": whole, "n_predict": call.max_tokens, "n_probs": max(1, call.logprobs)}
        body |= {"model": model, "prompt": [*prompt, *prefix_tokens], "max_tokens": call.max_tokens}
        return body | {"stream_options": self._usage()} | ({"logprobs": call.logprobs} if call.logprobs else {})

    def _usage(self) -> Json:
        return {"include_usage": True} | ({"continuous_usage_stats": True} if self.name in _COUNTING else {})

    def _told(self) -> Json:
        """What a server shall tell besides text.

        vLLM tells token ids at once, but holds back as many letters as its longest stop sequence has, unless that is
        to be part of the text: then ids and text belong together (`Stops` takes it out again). llama.cpp counts tokens
        with its timings. It notices that a stream was closed only when it writes to it, so it reports progress while it
        reads the prompt: a call that is aborted then would be read to its end else.
        """
        if self.name == "vllm":
            return {"return_token_ids": True, "include_stop_str_in_output": True}
        return {"timings_per_token": True, "return_progress": True}

    def _sampling(self, call: Call) -> Json:
        body: Json = {"stream": True}
        if call.temperature is not None:
            body["temperature"] = call.temperature
        if call.seed is not None:
            body["seed"] = call.seed
        if call.stop:
            body["stop"] = call.stop
        return body

    def _constraint(self, call: Call, prefix: str) -> Json:
        guide = guides.guide_of(call, prefix)
        return self.guide(guide) if guide is not None else {}


DIALECTS: dict[Name, Dialect] = {
    "vllm": Dialect("vllm", guides.vllm, continues=True, constrains=True, reuses=True, tokens=True),
    "llama.cpp": Dialect("llama.cpp", guides.llama_cpp, continues=True, constrains=True, reuses=False, tokens=True),
    "sglang": Dialect("sglang", guides.sglang, continues=True, constrains=True, reuses=True, tokens=False),
    "openai": Dialect("openai", guides.openai, continues=False, constrains=False, reuses=True, tokens=False),
}


def opened_turn(call: Call) -> str:
    """What the assistant's own last turn says already, where the call leaves it open; else nothing."""
    return call.messages[-1].content if call.messages and call.messages[-1].role == "assistant" else ""


def detect(models: Json, props: Json | None) -> Name:
    """Which server this is, from its `/v1/models` and, if it has one, llama.cpp's `/props`."""
    if props is not None and "total_slots" in props:
        return "llama.cpp"
    owners = {str(model.get("owned_by", "")) for model in models.get("data", [])}
    known: dict[str, Name] = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}
    return next((name for owner, name in known.items() if owner in owners), "openai")


def capabilities(dialect: Dialect, models: Json, props: Json | None, slots: int) -> Capabilities:
    """What the server says it can do; `slots` is our own bound, lowered to the server's if it tells."""
    context = 0
    for model in models.get("data", []):
        context = max(context, int(model.get("max_model_len") or (model.get("meta") or {}).get("n_ctx") or 0))
    if props is not None:
        slots = min(slots, int(props.get("total_slots", slots)))
        context = int((props.get("default_generation_settings") or {}).get("n_ctx") or context)
    return Capabilities(
        slots=slots,
        context_tokens=context,
        grammar=dialect.constrains,
        choices=dialect.constrains,
        json_schema=True,
        regex=dialect.constrains,
        logprobs=True,
        tokens=dialect.tokens,
        continues=dialect.continues,
    )
