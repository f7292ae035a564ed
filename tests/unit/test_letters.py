"""Dead letters: every place that can meet a record that can never succeed makes one, and it names what can be read."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from alto_streams.agents.home.admitting import RequestAgent
from alto_streams.agents.home.decision_log import DecisionLog
from alto_streams.agents.lm.pool import Pool
from alto_streams.errors import Poison
from alto_streams.log.letters import RECORD_MOST, LetterCounts, letter_of
from alto_streams.log.sender import Out
from alto_streams.pipelines.factcheck import pipeline
from alto_streams.scheduler.admission import Admission
from alto_streams.tables.decisions import Cause
from alto_streams.wire.records import DeadLetter, Raw, Request, Timer, encode
from alto_streams.wire.request_ids import new_request_id
from alto_streams.worker.pump import Polled, polled_of
from tests.unit.test_pump import Giver, record, until

REQUEST = new_request_id()
SAID = "what the user said"


class Log:
    """Takes everything."""

    def __init__(self) -> None:
        self.outs: list[Out] = []

    async def send_all(self, outs: list[Out]) -> None:
        self.outs += outs

    def letters(self) -> list[DeadLetter]:
        found = [out for out in self.outs if out.topic == "dead-letters.factcheck"]
        return [msgspec.json.decode(out.value or b"", type=DeadLetter) for out in found]


def read(out: Out) -> DeadLetter:
    return msgspec.json.decode(out.value or b"", type=DeadLetter)


def polled(value: bytes, offset: int = 7, key: str = "") -> Polled:
    return Polled("chunks.factcheck.claims", 3, offset, 1_000, value, key)


def counted(registry: CollectorRegistry, stage: str, cause: Cause) -> float | None:
    return registry.get_sample_value("alto_dead_letters_total", {"stage": stage, "cause": cause})


def letter(value: bytes, key: str = "", carried: bool = True) -> DeadLetter:
    origin = polled(value, key=key)
    return read(letter_of("factcheck", "claims", origin.topic, origin, "why", carried=carried))


def test_a_letter_has_its_origin_and_its_record() -> None:
    value = encode(Timer(REQUEST, "0/1", 1, 0))
    made = letter(value, REQUEST)
    assert (made.topic, made.partition, made.offset) == ("chunks.factcheck.claims", 3, 7)
    assert (made.cause, made.stage, made.request, made.path) == ("why", "claims", REQUEST, "0/1")
    assert (made.record, made.key) == (value, REQUEST)


@pytest.mark.parametrize(
    ("value", "key", "request_", "path"),
    [
        (b'{"type": "nonsense", "request": "%s", "path": "3"}' % REQUEST.encode(), "", REQUEST, "3"),
        (b'{"id": "%s", "path": "../x"}' % REQUEST.encode(), "", REQUEST, ""),
        (b'{"request": "%s"}' % SAID.encode(), "", "", ""),
        (b'{"path": "%s"}' % SAID.encode(), REQUEST, REQUEST, ""),
        (b"\xff\xfe", REQUEST, REQUEST, ""),
        (b"\xff\xfe", SAID, "", ""),
        (b"", "", "", ""),
    ],
)
def test_a_letter_names_what_can_be_read_of_its_record(value: bytes, key: str, request_: str, path: str) -> None:
    made = letter(value, key)
    assert (made.request, made.path, made.record, made.key) == (request_, path, value, key)


def test_a_letter_can_be_sent_whatever_it_is_about() -> None:
    at_most, beyond = letter(b"x" * RECORD_MOST), letter(b"x" * (RECORD_MOST + 1))
    assert len(at_most.record) == RECORD_MOST
    assert len(encode(at_most)) < 700_000
    assert beyond.record == b""
    assert f"record of {RECORD_MOST + 1} bytes" in beyond.cause
    assert letter(b"{}", carried=False).record == b""


def test_a_tombstone_is_an_empty_record() -> None:
    tombstone = polled_of(record(1, None))
    assert (tombstone.value, tombstone.key) == (b"", "r")


async def test_an_unreadable_request_is_a_letter() -> None:
    log, good = Log(), Request(REQUEST, "factcheck", Raw(b"{}"))
    records = [polled(b"not JSON", 0, REQUEST), polled(encode(good), 1), polled(b'{"type": "request", "id": "x"}', 2)]
    decisions = DecisionLog("factcheck.report", registry := CollectorRegistry())
    await RequestAgent(pipeline, log.send_all, Admission(), 1 << 60, decisions).handle(0, records)
    assert counted(registry, "factcheck.request", Cause.UNREADABLE) == 2
    assert [(made.offset, made.stage, made.request, made.key) for made in log.letters()] == [
        (0, "request", REQUEST, REQUEST),
        (2, "request", "", ""),
    ]
    assert {out.topic for out in log.outs} > {"chunks.factcheck.answer", "chunks.factcheck.report"}


async def test_a_request_too_large_to_be_passed_on_costs_no_other() -> None:
    log = Log()
    small, large = (Request(new_request_id(), "factcheck", Raw(b'"%s"' % (b"x" * size))) for size in (1, 700))

    async def send_all(outs: list[Out]) -> None:
        if any(out.topic.startswith("chunks") and len(out.value or b"") > 700 for out in outs):
            raise Poison("a record is larger than a record may be")
        await log.send_all(outs)

    records = [polled(encode(each), offset, each.id) for offset, each in enumerate((small, large))]
    records.insert(0, polled(b"not JSON", 7, REQUEST))
    decisions = DecisionLog("factcheck.report", registry := CollectorRegistry())
    await RequestAgent(pipeline, send_all, Admission(), 1 << 60, decisions).handle(0, records)
    causes = (Cause.UNREADABLE, Cause.TOO_LARGE)
    assert [counted(registry, "factcheck.request", cause) for cause in causes] == [1, 1], "each once, though sent again"
    assert [(made.offset, made.request) for made in log.letters()] == [(7, REQUEST), (1, large.id)]
    assert {out.key for out in log.outs if out.topic.startswith("chunks")} == {small.id.encode()}


@pytest.mark.parametrize("value", [None, b"", b"not JSON"])
async def test_an_unreadable_work_item_is_a_letter_and_finished(value: bytes | None) -> None:
    log, giver = Log(), Giver()
    letters = LetterCounts(registry := CollectorRegistry())
    giver.deliver(Pool(None, 1, log.send_all, giver, letters=letters), 5, value=value)  # type: ignore[arg-type]
    await until(lambda: giver.acked == [(1, 5)])
    assert counted(registry, "factcheck.claims", Cause.UNREADABLE) == 1
    (made,) = log.letters()
    assert (made.topic, made.partition, made.offset) == ("work.factcheck.claims", 0, 5)
    assert (made.stage, made.record) == ("claims", value or b"")
