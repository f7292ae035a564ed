"""What OpenAI-compatible servers do differently: how to continue a turn, constrain it, and get token ids.

vLLM follows https://docs.vllm.ai "OpenAI-Compatible Server" (`continue_final_message`, `structured_outputs`);
llama.cpp follows its `tools/server/README.md` (`grammar`, `/apply-template`, `/completion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from alto_streams.grammars import one_of
from alto_streams.models.protocol import CallRejected, Capabilities
from alto_streams.records import Call
from alto_streams.resume import choices_left

Json = dict[str, Any]
CONTINUE = "Continue this text from exactly where it ends. Write only what comes next."
Name = Literal["vllm", "llama.cpp", "openai"]
NAMES: tuple[Name, ...] = ("vllm", "llama.cpp", "openai")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server.

    `reuses`: whether a connection may carry another request after a streamed reply (llama.cpp closes it, so a
    second request on it fails). `natives`: a run can also continue from token ids, by the server's own route.
    """

    name: Name
    continues: bool
    constrains: bool
    reuses: bool
    tokens: bool

    def chat_body(self, call: Call, model: str, prefix: str) -> Json:
        """The body of `POST /chat/completions`.

        Raises:
            CallRejected: the call must continue a turn, or keep to choices, in a way that this server cannot.
        """
        opened = call.messages[-1].content if call.messages and call.messages[-1].role == "assistant" else ""
        if prefix and not self.continues:
            raise CallRejected("it cannot continue an assistant's turn: if it can, name its dialect in ALTO_MODELS")
        turns = call.messages[:-1] if opened else call.messages
        messages = [{"role": message.role, "content": message.content} for message in turns]
        if opened and not self.continues:  # the nearest that such a server offers: being asked to
            messages.append({"role": "user", "content": f"{CONTINUE}\n\n{opened}"})
            opened = ""
        body: Json = {"model": model, "messages": messages, "max_tokens": call.max_tokens, **self._sampling(call)}
        # vLLM holds text back, so its events do not tell how many tokens they took unless they are asked to.
        counts = {"continuous_usage_stats": True} if self.name == "vllm" else {}
        body |= {"stream_options": {"include_usage": True, **counts}}
        if opened or prefix:
            # A last turn that is the assistant's own is open, so what it wrote already is more of the same turn.
            messages.append({"role": "assistant", "content": opened + prefix})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        body |= self._constraint(call, prefix)
        alternatives = call.logprobs
        if self.tokens:
            # llama.cpp tells a token's id only together with its log-probability, and its count with its timings.
            alternatives = max(1, call.logprobs)
            body |= self._told()
        if alternatives:
            body |= {"logprobs": True, "top_logprobs": alternatives}
        return body

    def native_body(self, call: Call, prompt: str, prefix: str, prefix_tokens: list[int]) -> Json:
        """The body of llama.cpp's `POST /completion`: the templated prompt as text, then the prefix as token ids."""
        body: Json = {
            "prompt": [prompt, *prefix_tokens],
            "n_predict": call.max_tokens,
            "n_probs": max(1, call.logprobs),
        }
        return body | self._told() | self._sampling(call) | self._constraint(call, prefix)

    def _told(self) -> Json:
        """What llama.cpp shall tell besides text. It notices that a stream was closed only when it writes to it.

        So it reports progress while it reads the prompt: a call that is aborted then would be read to its end else.
        """
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
        if not self.constrains:
            return {}
        choices = remaining_choices(call, prefix)
        if self.name == "vllm":
            if choices is not None:
                return {"structured_outputs": {"choice": choices}}
            return {"structured_outputs": {"grammar": call.grammar}} if call.grammar else {}
        grammar = one_of(choices) if choices is not None else call.grammar
        return {"grammar": grammar} if grammar else {}


DIALECTS: dict[Name, Dialect] = {
    "vllm": Dialect("vllm", continues=True, constrains=True, reuses=True, tokens=False),
    "llama.cpp": Dialect("llama.cpp", continues=True, constrains=True, reuses=False, tokens=True),
    "openai": Dialect("openai", continues=False, constrains=False, reuses=True, tokens=False),
}


def remaining_choices(call: Call, prefix: str) -> list[str] | None:
    """What may still follow `prefix` so that the whole is one of the call's choices; None if it names none.

    Raises:
        CallRejected: no choice begins with the prefix.
    """
    if call.choices is None:
        return None
    left = choices_left(call.choices, prefix)
    if not left:
        raise CallRejected("none of the call's choices begins with the accepted text")
    return left


def detect(models: Json, props: Json | None) -> Name:
    """Which server this is, from its `/v1/models` and, if it has one, llama.cpp's `/props`."""
    if props is not None and "total_slots" in props:
        return "llama.cpp"
    owners = {str(model.get("owned_by", "")) for model in models.get("data", [])}
    if "vllm" in owners:
        return "vllm"
    return "llama.cpp" if "llamacpp" in owners else "openai"


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
        logprobs=True,
        tokens=dialect.tokens,
        continues=dialect.continues,
    )
