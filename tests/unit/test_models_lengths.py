"""Long inputs: found before the engine is asked, refused with their counts, or cut as their stage says."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import msgspec
import pytest

from alto_streams.define.stages import Truncate
from alto_streams.errors import TooLong
from alto_streams.models.lengths import Lengths
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.protocol import Capabilities
from alto_streams.models.scripted import ScriptedEngine
from alto_streams.wire.records import Call, Message, Status
from tests.unit.engine_servers import FakeVllm, local_process, serving
from tests.unit.engines import local_missing, run
from tests.unit.test_lm_agent import WORK, Engine, Log, agent_of

needs_wheels = pytest.mark.skipif(local_missing() is not None, reason=str(local_missing()))
FEW_SHOTS = "Judge the statement. " * 60


class Counting(ScriptedEngine):
    """Its tokens are bytes, as many as they can be, unless it is told; and it counts how often it is asked."""

    def __init__(self, context_tokens: int, bytes_a_token: int = 1) -> None:
        super().__init__(lambda *_: "")
        self.asked, self.context_tokens, self.bytes_a_token = 0, context_tokens, bytes_a_token

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(slots=1, context_tokens=self.context_tokens, continues=True)

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        self.asked += 1
        return self.of(messages) // self.bytes_a_token

    @staticmethod
    def of(messages: Sequence[Message]) -> int:
        return sum(4 + len(message.content.encode()) for message in messages) + 10


class Uncounted(ScriptedEngine):
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(slots=1, context_tokens=1000)


def call(text: str, max_tokens: int = 100, fixed: str = "Answer.") -> Call:
    return Call(messages=[Message("system", fixed), Message("user", text)], max_tokens=max_tokens)


async def test_what_surely_fits_is_not_counted() -> None:
    engine = Counting(2000, bytes_a_token=2)
    lengths = Lengths(engine)
    short = call("Is neon a gas?")
    assert await lengths.fitted(short, "p.s") is short
    assert engine.asked == 0
    for number in range(20):  # the first one is counted, for the bytes leave it open; the others begin like it
        long = call(f"Statement {number}", max_tokens=1000, fixed=FEW_SHOTS)
        assert await lengths.fitted(long, "p.long") == long
    assert engine.asked == 1


async def test_an_engine_that_tells_no_context_is_asked_for_whatever_it_is() -> None:
    long = call("x" * 100_000)
    assert await Lengths(Counting(0)).fitted(long, "p.s") is long


async def test_too_long_says_how_long_and_not_what() -> None:
    with pytest.raises(TooLong) as raised:
        await Lengths(Counting(1000)).fitted(call("secret" * 200), "p.s")
    counts = re.findall(r"\d+", raised.value.cause)
    assert [int(count) for count in counts] == [1225, 1000, 100]
    assert "truncate" in raised.value.cause
    assert "secret" not in str(raised.value)
    with pytest.raises(TooLong, match="about 1100 tokens"):
        await Lengths(Uncounted(lambda *_: "")).fitted(call("secret " * 429), "p.s")


async def test_a_prompt_that_leaves_room_for_less_is_asked_for_less() -> None:
    fitted = await Lengths(Counting(1000)).fitted(call("x" * 700, max_tokens=900), "p.s")
    assert fitted.max_tokens == 1000 - Counting.of(fitted.messages)
    assert len(fitted.messages[-1].content) == 700


def lines(text: str, share: float) -> str:
    """Whole lines only."""
    kept = text.splitlines()
    return "\n".join(kept[: int(len(kept) * share)])


@pytest.mark.parametrize("how", ["head", "tail", lines])
async def test_a_prompt_is_cut_where_its_stage_says(how: Truncate) -> None:
    text = "\n".join(f"line {number} é🌍" for number in range(200))
    fitted = await Lengths(Counting(1000), {"p.s": how}).fitted(call(text, max_tokens=300), "p.s")
    fixed, own = fitted.messages
    assert fixed.content == "Answer."
    tokens = Counting.of(fitted.messages)
    assert 600 < tokens <= 1000 - 125  # an eighth is kept to write
    assert fitted.max_tokens == min(300, 1000 - tokens)
    assert (text.endswith if how == "head" else text.startswith)(own.content)
    assert how != lines or text[len(own.content)] == "\n"


async def test_what_cannot_be_cut_enough_is_too_long() -> None:
    def stubborn(text: str, share: float) -> str:
        return text

    def broken(text: str, share: float) -> str:
        raise KeyError(text)

    for fixed, how in (("x" * 1000, "tail"), ("Answer.", stubborn)):
        with pytest.raises(TooLong, match=r"\d{3,4} tokens.*cut as its stage says"):
            await Lengths(Counting(1000), {"p.s": how}).fitted(call("y" * 900, 300, fixed), "p.s")  # type: ignore[dict-item]
    with pytest.raises(TooLong, match="raised KeyError") as raised:
        await Lengths(Counting(1000), {"p.s": broken}).fitted(call("y" * 1900), "p.s")
    assert "yy" not in str(raised.value)


async def test_a_resumed_call_is_cut_as_the_first_one_was() -> None:
    text = "word " * 400
    whole = await Lengths(Counting(1000), {"p.s": "tail"}).fitted(call(text, max_tokens=300), "p.s")
    for written in (1, 60, 124):
        again = await Lengths(Counting(1000), {"p.s": "tail"}).fitted(
            call(text, max_tokens=300 - written), "p.s", "x" * written, list(range(written))
        )
        assert again.messages == whole.messages
        assert again.max_tokens + written == whole.max_tokens


async def test_nothing_is_let_through_that_does_not_fit() -> None:
    """Of 500 prompts of some classes, as they come."""
    draw, engine = random.Random(7), Counting(2000)
    lengths, passed = Lengths(engine), 0
    for _ in range(500):
        text = "".join(draw.choice("a1é🌍 ") for _ in range(draw.randrange(1200)))
        asked = call(text, draw.randrange(1, 800), FEW_SHOTS[: draw.choice((0, 400, 800))])
        prefix = [1] * draw.choice((0, 0, 50))
        try:
            fitted = await lengths.fitted(asked, draw.choice(("p.a", "p.b")), "x" * len(prefix), prefix)
        except TooLong:
            assert Counting.of(asked.messages) + min(asked.max_tokens + len(prefix), 250) > 2000
            continue
        passed += 1
        assert Counting.of(fitted.messages) + len(prefix) + fitted.max_tokens <= 2000
    assert 100 < passed < 500
    assert engine.asked < 450


async def test_the_local_engine_counts_as_it_bills(served: OpenAIEngine) -> None:
    texts = ["Hi", "Neon is a noble gas. " * 20, "1234567890" * 8, "🌍é" * 30, "def f(x):\n    return x\n" * 9]
    for text in texts:
        one = call(text, max_tokens=1)
        pieces = await run(served, one)
        assert await served.count_tokens(one.messages) == pieces[-1].usage.prompt_tokens


@needs_wheels
async def test_the_local_engine_is_never_overrun() -> None:
    async with local_process("--context-tokens", "512", "--slots", "1") as (address, _):
        engine = OpenAIEngine(address)
        await engine.ready()
        lengths, sentence = Lengths(engine, {"p.cut": "tail"}), "Neon is a noble gas. "
        with pytest.raises(TooLong, match=r"has 6\d\d tokens, and the engine's context is 512, of which 64"):
            await lengths.fitted(call(sentence * 100, 400), "p.s")
        cut = await lengths.fitted(call(sentence * 100, 400), "p.cut")
        usage = (await run(engine, cut))[-1].usage
        assert 512 * 0.8 < usage.prompt_tokens <= 512 - 64
        assert usage.prompt_tokens + usage.output_tokens <= 512
        # One that fits but for its max_tokens is asked for what there is room for, and fills it.
        fitted = await lengths.fitted(call(sentence * 68, 400), "p.s")
        assert 64 <= fitted.max_tokens < 128
        filling = Call(fitted.messages, fitted.max_tokens, grammar='root ::= "neon "+')
        last = (await run(engine, filling))[-1]
        assert (last.finish, last.usage.output_tokens) == ("length", fitted.max_tokens)
        assert last.usage.prompt_tokens + last.usage.output_tokens == 512
        await engine.close()


async def test_a_server_without_a_tokenizer_is_estimated() -> None:
    fake = FakeVllm(owner="somebody")
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        await engine.ready()
        assert await engine.count_tokens([Message("user", "x")]) is None
        with pytest.raises(TooLong, match="about"):
            await Lengths(engine).fitted(call("x" * 5000), "p.s")
        await engine.close()


async def test_a_prompt_that_is_too_long_fails_with_its_counts_and_is_not_begun() -> None:
    engine, log, long = Engine(), Log(), Call([Message("user", "secret " * 100)], 10)
    await agent_of(engine, log).handle(msgspec.structs.replace(WORK, call=long), "factcheck")
    ((_, end),) = log.chunks()
    assert end is not None
    assert (engine.begun, end.status, end.reason) == (0, Status.FAILED, "rejected")
    assert end.cause is not None
    assert "too long: the prompt has about 314 tokens, and the engine's context is 100" in end.cause
    assert "secret" not in end.cause
