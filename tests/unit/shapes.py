"""Pipelines of other shapes than fact-checking, whose models say what their prompt tells them to.

A prompt `x:3` is answered by three lines, `x.0`, `x.1` and `x.2`; a line that begins with `!` does not parse.
"""

from __future__ import annotations

from typing import Any

from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from tests.simulation.script import Lines


class Q(Record, frozen=True):
    text: str


class A(Record, frozen=True):
    text: str


class B(Record, frozen=True):
    text: str


class C(Record, frozen=True):
    text: str


class D(Record, frozen=True):
    text: str


class E(Record, frozen=True):
    text: str


class R(Record, frozen=True):
    found: list[str]


def ask(text: str, fan_out: int, kind: type[Record]) -> Prompt[Any]:
    return Prompt([], f"{text}:{fan_out}", Lines(kind), 1_000)


def answer(prompt: str) -> str:
    """What every model says."""
    text, _, count = prompt.rpartition(":")
    return "".join(f"{text}.{n}\n" for n in range(int(count)))


def deep() -> Pipeline:
    """Five levels below the request, generated and mapped in turn, with ancestors taken beside the driver."""
    pipeline = Pipeline("factcheck", request=Q)

    @pipeline.generate(model="m")
    def a(q: Q) -> Prompt[A]:
        return ask(q.text, 2, A)

    @pipeline.map()
    async def b(a: A) -> list[B]:
        return [B(a.text + "+0"), B(a.text + "+1")]

    @pipeline.generate(model="m")
    def c(b: B, q: Q) -> Prompt[C]:
        return ask(b.text, len(q.text), C)

    @pipeline.map()
    async def d(c: C, a: A) -> D:
        return D(f"{a.text}>{c.text}")

    @pipeline.generate(model="m")
    def e(d: D, b: B) -> Prompt[E]:
        return ask(f"{b.text}>{d.text}", 1, E)

    @pipeline.gather
    def r(e: Gather[E]) -> R:
        return R([each.text for each in e])

    return pipeline


def fork() -> Pipeline:
    """Two branches from each item, gathered per item, with a leaf that nobody consumes."""
    pipeline = Pipeline("factcheck", request=Q)

    @pipeline.generate(model="m")
    def a(q: Q) -> Prompt[A]:
        return ask(q.text, 3, A)

    @pipeline.generate(model="m")
    def b(a: A) -> Prompt[B]:
        return ask(a.text, 2, B)

    @pipeline.map()
    async def c(a: A) -> C:
        if a.text.endswith("1"):
            raise LookupError(a.text)
        return C(a.text)

    @pipeline.map()
    async def d(b: B) -> D:
        return D(b.text)

    @pipeline.gather
    def e(a: A, b: Gather[B], c: Gather[C]) -> E:
        return E(f"{a.text}={','.join(x.text for x in b)};{','.join(x.text for x in c)};{len(c.failures)}")

    @pipeline.gather
    def r(e: Gather[E]) -> R:
        return R([each.text for each in e])

    return pipeline


def turn() -> Pipeline:
    """A call that starts from a gather over the whole request, and is driven by nothing else."""
    pipeline = Pipeline("factcheck", request=Q)

    @pipeline.generate(model="m")
    def a(q: Q) -> Prompt[A]:
        return ask(q.text, 3, A)

    @pipeline.generate(model="m")
    def b(a: Gather[A]) -> Prompt[B]:
        return ask("+".join(each.text for each in a), 2, B)

    @pipeline.gather
    def r(b: Gather[B]) -> R:
        return R([each.text for each in b])

    return pipeline


def raising() -> Pipeline:
    """Authors' functions that raise: a prompt, a parser, a gather."""
    pipeline = Pipeline("factcheck", request=Q)

    class Broken(Lines):
        def feed(self, text: str, logprobs: Any = None) -> list[Any]:
            if "1" in text:
                raise ValueError("a parser's own mistake")
            return super().feed(text, logprobs)

    @pipeline.generate(model="m")
    def a(q: Q) -> Prompt[A]:
        return ask(q.text, 3, A)

    @pipeline.generate(model="m")
    def b(a: A) -> Prompt[B]:
        if a.text.endswith("0"):
            raise KeyError("a prompt's own mistake")
        return Prompt([], a.text + ":2", Broken(B), 10)

    @pipeline.gather
    def c(a: A, b: Gather[B]) -> C:
        if b.failures:
            raise RuntimeError("a gather's own mistake")
        return C(f"{a.text}={len(b)}")

    @pipeline.gather
    def r(b: Gather[B], c: Gather[C]) -> R:
        failed = [f"{path} {cause}" for each in (b, c) for path, cause in each.failures.items()]
        return R([each.text for each in c] + sorted(failed))

    return pipeline
