"""Any OpenAI-compatible server: what is sent, and what its failures mean."""

from __future__ import annotations

import json
import re
from contextlib import aclosing

import pytest

from alto_streams.errors import CallRejected, EngineOverloaded, EngineUnavailable
from alto_streams.models.dialects import DIALECTS
from alto_streams.models.openai import OpenAIEngine
from alto_streams.models.pieces import Reader, WholeCharacters
from alto_streams.wire.records import Call, Message
from tests.unit.engine_servers import RECORDED, FakeVllm, serving, until

WORDS = "the user's own words"
KEY = "sk-0123456789"


def ask(max_tokens: int = 100, **more: object) -> Call:
    return Call(messages=[Message("user", WORDS)], max_tokens=max_tokens, **more)  # type: ignore[arg-type]


async def answer(engine: OpenAIEngine, call: Call, prefix: str = "") -> str:
    return "".join([piece.text async for piece in engine.generate(call, prefix=prefix)])


async def test_learns_what_vllm_can_do() -> None:
    async with serving(FakeVllm().app()) as address:
        engine = OpenAIEngine(address, slots=3)
        await engine.ready()
        assert (engine.capabilities.slots, engine.capabilities.context_tokens) == (3, 512)
        assert engine.capabilities.continues
        assert engine.capabilities.choices
        await engine.close()


async def test_sends_the_call_in_vllms_words() -> None:
    fake = FakeVllm()
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address, "m", api_key=KEY)
        call = ask(seed=3, stop=["!"], temperature=0.5, logprobs=2, grammar='root ::= "x"')
        assert await answer(engine, call, "The ") == RECORDED.removeprefix("The ")
        body = fake.bodies[0]
        assert body["messages"][-1] == {"role": "assistant", "content": "The "}
        assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
        assert body["structured_outputs"] == {"grammar": 'root ::= "x"'}
        assert (body["seed"], body["stop"], body["temperature"], body["max_tokens"]) == (3, ["!"], 0.5, 100)
        assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
        assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
        assert fake.headers[-1]["authorization"] == f"Bearer {KEY}"
        await engine.close()


async def test_log_probabilities_include_the_sampled_token() -> None:
    async with serving(FakeVllm().app()) as address:
        engine = OpenAIEngine(address)
        pieces = [piece async for piece in engine.generate(ask(max_tokens=2, logprobs=1))]
        assert pieces[0].logprobs is not None
        assert pieces[0].logprobs[0].top == {"?": -0.5, "T": -1.0}
        assert pieces[-1].usage.cached_tokens == 5
        await engine.close()


async def test_holds_a_character_until_it_is_whole() -> None:
    async with serving(FakeVllm().app()) as address:
        engine = OpenAIEngine(address)
        pieces = [piece.text async for piece in engine.generate(ask())]
        assert "🌍" in pieces
        assert "".join(pieces) == RECORDED
        await engine.close()


def test_lone_halves_never_come_out() -> None:
    characters = WholeCharacters()
    assert [characters.feed(part) for part in ("a\ud83c", "\udf0d", "b", "\udf0d")] == ["a", "🌍", "b", "\ufffd"]


def test_halves_of_a_character_in_two_events_are_one() -> None:
    """A server that cuts its text between tokens writes them as two escapes."""
    reader = Reader("engine", wants_logprobs=False, tells_tokens=False)
    texts = ('"a"', '"\\ud83c"', '"\\udf0d"')
    pieces = [reader.feed({"choices": [{"delta": {"content": json.loads(text)}}]}) for text in texts]
    assert [piece and piece.text for piece in pieces] == ["a", None, "🌍"]


def test_token_ids_stop_at_the_first_gap() -> None:
    reader = Reader("engine", wants_logprobs=False, tells_tokens=True)

    def event(text: str, token: int, generated: int) -> dict[str, object]:
        entry = {"id": token, "token": text, "logprob": 0.0}
        choice = {"delta": {"content": text}, "logprobs": {"content": [entry]}}
        return {"choices": [choice], "timings": {"predicted_n": generated}}

    pieces = [reader.feed(event(*args)) for args in (("a", 1, 1), ("b", 2, 2), ("🌍", 5, 5), ("c", 6, 6))]
    assert [piece and piece.tokens for piece in pieces] == [[1], [2], None, None]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", EngineOverloaded),
        ("503", EngineOverloaded),
        ("503 in the stream", EngineOverloaded),
        ("400", CallRejected),
        ("422", CallRejected),
        ("404", EngineUnavailable),
        ("500", EngineUnavailable),
        ("html", EngineUnavailable),
        ("key", EngineUnavailable),
        ("death", EngineUnavailable),
        ("cut", EngineUnavailable),
        ("error", EngineUnavailable),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_failures_say_whose_fault_and_quote_nobody(fault: str, error: type[Exception]) -> None:
    async with serving(FakeVllm(fault=fault).app()) as address:
        engine = OpenAIEngine(address, api_key=KEY)
        with pytest.raises(error, match=re.escape(address)) as raised:
            await answer(engine, ask())
        assert WORDS not in str(raised.value)
        assert KEY not in str(raised.value)
        assert RECORDED not in str(raised.value)
        if isinstance(raised.value, EngineOverloaded) and fault.isdecimal():
            assert raised.value.retry_after_s == 7.0
        await engine.close()


async def test_nobody_there_names_the_address() -> None:
    async with serving(FakeVllm().app()) as address:
        pass
    engine = OpenAIEngine(address)
    with pytest.raises(EngineUnavailable, match=re.escape(address)):
        await engine.ready()
    await engine.close()


async def test_an_unknown_model_is_named_with_those_served() -> None:
    async with serving(FakeVllm().app()) as address:
        engine = OpenAIEngine(address, "other")
        with pytest.raises(EngineUnavailable, match=r"serves m; .*ALTO_MODELS"):
            await engine.ready()
        await engine.close()


async def test_an_unknown_server_is_not_made_to_continue() -> None:
    async with serving(FakeVllm(owner="somebody").app()) as address:
        engine = OpenAIEngine(address)
        assert await answer(engine, ask(grammar="root ::= .")) == RECORDED
        assert not engine.capabilities.continues
        with pytest.raises(CallRejected, match="dialect"):
            await answer(engine, ask(), "The ")
        await engine.close()


async def test_closing_the_stream_ends_the_run_in_the_server() -> None:
    fake = FakeVllm()
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        fake.gate.clear()
        async with aclosing(engine.generate(ask())) as stream:
            async for _ in stream:
                break
            await until(lambda: fake.open == 1, "the stream is running")
        await until(lambda: fake.open == 0, "the server has noticed that the stream was closed")
        await engine.close()


async def test_a_stop_that_began_before_the_break_ends_the_run_in_the_server() -> None:
    fake = FakeVllm()
    async with serving(fake.app()) as address:
        engine = OpenAIEngine(address)
        fake.gate.clear()  # the server writes one character, which completes the stop, and would wait
        assert await answer(engine, ask(stop=["he s", "e "]), "The") == ""
        await until(lambda: fake.open == 0, "the server has noticed that the stream was closed")
        await engine.close()


def test_a_server_that_cannot_continue_a_turn_is_asked_to() -> None:
    call = Call(messages=[Message("user", "Check it."), Message("assistant", "The statement is")], max_tokens=4)
    body = DIALECTS["openai"].chat_body(call, "m", "")
    assert [message["role"] for message in body["messages"]] == ["user", "user"]
    assert body["messages"][-1]["content"].endswith("The statement is")
    assert "continue_final_message" not in body
    with pytest.raises(CallRejected, match="cannot continue"):
        DIALECTS["openai"].chat_body(call, "m", " correct")
