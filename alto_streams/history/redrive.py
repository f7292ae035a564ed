"""Sends what dead letters are about once more.

A letter that carries its record: that very record, with its key, to the partition it came from, for a home is a
partition. A letter of what failed within a request carries none, and its request has ended: the request itself is sent
again, under a new id.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from alto_streams.errors import NotInLog, Poison
from alto_streams.history.letters import LetterId, StoredLetter, fetched
from alto_streams.history.requests import request_of
from alto_streams.history.stretches import reading
from alto_streams.log.broker_errors import told
from alto_streams.log.consumer import LogConsumer
from alto_streams.log.sender import Out
from alto_streams.parts import bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.wire import topic_names
from alto_streams.wire.records import Request, encode
from alto_streams.wire.request_ids import created_ms, new_request_id

ORIGINS = ("requests", "chunks", "work", "results")


class Redriven(NamedTuple):
    """What was sent for a letter, and where it stands now. `again`: the new id, where a request was sent again.

    `past`: the record's request is older than the horizon, so its home will drop it.
    """

    id: LetterId
    topic: str
    partition: int
    offset: int
    request: str
    again: str = ""
    past: bool = False


async def redrive(config: Settings, ids: Sequence[LetterId]) -> AsyncIterator[Redriven]:
    """Sends again what these letters are about, in their order. Nothing is sent if that cannot be done for one of them.

    Letters of one request that carry no record stand for one request, which is sent once.

    Raises:
        PartDown: the broker does not answer.
        NotInLog: a letter is not there, or what it is about is not there any more.
    """
    planned = await _planned(config, await fetched(config, list(dict.fromkeys(ids))))
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers(config.broker), client_id="alto-redrive", acks="all", linger_ms=0
    )
    sent: dict[str, Any] = {}
    try:
        await producer.start()
        for stored, out, again in planned:
            where = sent.get(again) if again else None
            if where is None:
                where = await producer.send_and_wait(out.topic, out.value, key=out.key, partition=out.partition)
            if again:
                sent[again] = where
            request = stored.letter.request
            old = bool(request) and created_ms(request) + config.horizon_s * 1000 < time.time() * 1000
            past = old and not again and not out.topic.startswith("results.")
            yield Redriven(stored.id, where.topic, where.partition, where.offset, request, again, past)
    except MessageSizeTooLargeError as error:
        raise NotInLog(f"{stored.id}: {out.topic} takes no record of that size: {error}") from None
    except (KafkaError, OSError, TimeoutError) as error:
        raise told(error, config.broker, "dead letters were sent again") from error
    finally:
        await producer.stop()


async def _planned(config: Settings, letters: Sequence[StoredLetter]) -> list[tuple[StoredLetter, Out, str]]:
    again: dict[str, Out] = {}
    ids: dict[str, str] = {}
    planned = []
    async with reading(config, "requests were looked up") as consumer:
        for stored in letters:
            letter = stored.letter
            _refuse(stored)
            if letter.record:
                record = Out(letter.topic, letter.key.encode() or None, letter.record, letter.partition)
                planned.append((stored, record, ""))
                continue
            if letter.request not in again:
                ids[letter.request] = new_request_id()
                request = await _request(consumer, stored, int(config.horizon_s * 1000))
                again[letter.request] = _once_more(request, ids[letter.request])
            planned.append((stored, again[letter.request], ids[letter.request]))
    return planned


def _refuse(stored: StoredLetter) -> None:
    letter = stored.letter
    if not stored.readable:
        raise NotInLog(f"{stored.id}: {letter.cause}; nothing can be sent for it")
    if not letter.record and not letter.request:
        raise NotInLog(f"{stored.id}: it carries no record and names no request; nothing can be sent for it")
    try:
        created_ms(letter.request) if letter.request else None
    except Poison as error:
        raise NotInLog(f"{stored.id}: {error}") from None
    kind, _, rest = letter.topic.partition(".")
    if letter.record and (kind not in ORIGINS or rest.partition(".")[0] != stored.id.pipeline):
        raise NotInLog(f"{stored.id}: its record came from {letter.topic}, no topic of {stored.id.pipeline}")


async def _request(consumer: LogConsumer, stored: StoredLetter, horizon_ms: int) -> Request:
    """The request of a letter, as its client sent it."""
    wanted, pipeline = stored.letter.request, stored.id.pipeline
    found = await request_of(consumer, pipeline, wanted, horizon_ms)
    if found is not None:
        return found
    raise NotInLog(
        f"{stored.id}: request {wanted} is not in {topic_names.requests_topic(pipeline)} any more, which keeps requests"
        " for its retention only; ask anew"
    )


def _once_more(request: Request, new_id: str) -> Out:
    """The request under a new id, with as much time as it had; its idempotency key stands for the first one."""
    later_ms = created_ms(new_id) - created_ms(request.id)
    due_ms = request.context.deadline_ms
    context = msgspec.structs.replace(request.context, deadline_ms=None if due_ms is None else due_ms + later_ms)
    new = msgspec.structs.replace(request, id=new_id, context=context, idempotency_key=None)
    return Out(topic_names.requests_topic(request.pipeline), new_id.encode(), encode(new))
