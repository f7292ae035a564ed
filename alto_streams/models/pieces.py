"""From a server's stream events to `Piece`s: whole characters only, and token ids that cover the text exactly."""

from __future__ import annotations

from typing import Any, Literal

from alto_streams.errors import CallRejected, EngineBroke, EngineOverloaded
from alto_streams.models.protocol import Piece, Usage
from alto_streams.wire.records import TokenLogprob

Json = dict[str, Any]
Finish = Literal["stop", "length"]

_COMPLETIONS = ("tokens", "token_logprobs", "top_logprobs")


class WholeCharacters:
    """Holds back a character's first half.

    JSON writes a character above U+FFFF as two escapes; a server that cuts its text between tokens can send the
    halves in different events.
    """

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """The whole characters so far."""
        text = self._half + text
        self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        if text.isascii():
            return text
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Covered:
    """Pairs token ids with text.

    vLLM tells the ids of a character's first tokens before it has text for them: they wait for it. llama.cpp tells no
    ids of tokens that end within a character, or whose text it held back because it could become a stop string; but
    it counts them. Ids are passed on only while none is missing; after the first gap none are, and the run can be
    continued from its text alone.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._told = 0
        self._broken = False

    def add(self, ids: list[int]) -> None:
        """The ids that one event tells."""
        self._told += len(ids)
        self._ids += ids

    def take(self, generated: int | None) -> list[int] | None:
        """The ids of the text that is whole now, or None; `generated` is the server's count of tokens so far."""
        ids, self._ids = self._ids, []
        self._broken = self._broken or not ids or self._told != generated
        return None if self._broken else ids


def logprobs(entries: list[Json]) -> list[TokenLogprob]:
    """The alternatives of each token; the sampled one is always among them. Entries without any are only ids."""
    found = []
    for entry in (entry for entry in entries if "logprob" in entry):
        top = {str(other["token"]): float(other["logprob"]) for other in entry.get("top_logprobs") or []}
        top.setdefault(str(entry["token"]), float(entry["logprob"]))
        found.append(TokenLogprob(token=str(entry["token"]), top=top))
    return found


class Reader:
    """Reads one run's events. `feed` gives a piece of text, if there is one; `last` the final piece.

    Understands the events of the chat route, of the completions route, and llama.cpp's native ones.
    """

    def __init__(self, name: str, wants_logprobs: bool, tells_tokens: bool) -> None:
        self._name = name
        self._wants_logprobs = wants_logprobs
        self._tells_tokens = tells_tokens
        self._characters = WholeCharacters()
        self._covered = Covered()
        self._alternatives: list[TokenLogprob] = []
        self._usage = Usage()
        self._counted = 0
        self._finish: Finish | None = None
        self._begun = False

    def feed(self, event: Json) -> Piece | None:
        """The next piece of text.

        Raises:
            CallRejected: the server refuses the call in the middle of its stream.
            EngineOverloaded: it has begun its reply, and not the run.
            EngineBroke: the server reports an error of its own.
        """
        if "error" in event:
            self._fail(event["error"])
        if "content" in event:
            return self._native(event)
        if event.get("usage"):
            self._usage = _usage(event["usage"])
        for choice in event.get("choices") or []:
            if choice.get("finish_reason"):
                self._finish = self._finished(str(choice["finish_reason"]))
            said = choice.get("delta") or choice
            return self._piece(str(said.get("content") or said.get("text") or ""), _entries(choice), event)
        return None

    def last(self) -> Piece:
        """The final piece, with the reason and the usage.

        Raises:
            EngineBroke: the stream ended without saying why, so the engine died or was cut off.
        """
        if self._finish is None:
            raise EngineBroke("its stream broke off before the end of the run", self._name)
        return Piece("", finish=self._finish, usage=self._usage)

    def _native(self, event: Json) -> Piece | None:
        if event.get("stop"):
            self._finish = "length" if event.get("stop_type") == "limit" else "stop"
            evaluated = int(event.get("tokens_evaluated", 0))
            cached = int((event.get("timings") or {}).get("cache_n", 0))
            self._usage = Usage(evaluated, int(event.get("tokens_predicted", 0)), cached)
        return self._piece(str(event["content"]), event.get("completion_probabilities") or [], event)

    def _piece(self, text: str, entries: list[Json], event: Json) -> Piece | None:
        generated = (event.get("timings") or {}).get("predicted_n") or (event.get("usage") or {}).get(
            "completion_tokens"
        )
        text = self._characters.feed(text)
        if self._tells_tokens:
            self._covered.add([int(entry["id"]) for entry in entries if "id" in entry])
        self._alternatives += logprobs(entries) if self._wants_logprobs else []
        if not text:
            return None
        self._begun = True
        tokens = self._covered.take(generated) if self._tells_tokens else None
        alternatives, self._alternatives = self._alternatives, []
        return Piece(text, tokens, alternatives if self._wants_logprobs else None, count=self._count(generated))

    def _count(self, generated: int | None) -> int | None:
        """The tokens since the last piece with text, from the server's count of tokens so far."""
        if not generated:
            return None
        count, self._counted = generated - self._counted, generated
        return max(0, count)

    def _finished(self, reason: str) -> Finish:
        if reason == "content_filter":
            raise CallRejected("the engine's content filter ended the run", self._name)
        if reason in ("abort", "error"):
            raise EngineBroke(f"the engine gave the run up ({reason})", self._name)
        return "length" if reason == "length" else "stop"

    def _fail(self, error: object) -> None:
        code = error.get("code") if isinstance(error, dict) else None
        if code in (400, 413, 422):
            raise CallRejected(f"refused in mid-stream (code {code})", self._name)
        if code in (429, 503) and not self._begun:  # vLLM begins its stream before it looks at its queue
            raise EngineOverloaded(f"overloaded (code {code})", self._name)
        raise EngineBroke(f"failed in mid-stream (code {code if isinstance(code, int) else 'none'})", self._name)


def _usage(usage: Json) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        output_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=int(details.get("cached_tokens") or 0),
    )


def _entries(choice: Json) -> list[Json]:
    """What an event tells of each token, in the form that the chat route has for it: `token`, `logprob`, `id`, ..."""
    told = choice.get("logprobs") or {}
    entries = [dict(entry) for entry in told.get("content") or []]
    for token, value, top in zip(*(told.get(key) or [] for key in _COMPLETIONS), strict=False):
        others = [{"token": other, "logprob": found} for other, found in (top or {}).items()]
        entries.append({"token": token, "logprob": value, "top_logprobs": others})
    for number, token_id in enumerate(choice.get("token_ids") or []):
        if number == len(entries):
            entries.append({})
        entries[number]["id"] = token_id
    return entries
