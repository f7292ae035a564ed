"""The way into the log: what a gateway accepts is appended, and acknowledged by all replicas, before it answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from alto_streams.errors import PartDown, Poison
from alto_streams.log.broker_errors import START
from alto_streams.parts import Backoff, bootstrap_servers
from alto_streams.settings import Settings
from alto_streams.wire import topic_names
from alto_streams.wire.records import Cancel, Cancelled, Request, Wire, encode

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 1_000


class Ingress:
    """Appends requests and cancellations. `start` does not wait for the broker; connecting goes on in the background.

    Its producer is rebuilt after any failed send. It needs no producer id (Tansu hands out none): a request's id, and
    what a cancel says, make a record that comes twice harmless. A send that failed may have reached the log all the
    same, so a retry of it must use the same request id.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = settings.broker
        self._timeout_s = settings.send_timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._detail = "not connected yet"
        self._in_flight = 0

    async def start(self) -> None:
        """Begins to connect, and goes on trying with backoff until `stop`."""
        self._reconnect()

    async def stop(self) -> None:
        """Closes the connection; what has not been acknowledged fails."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await _close(producer)

    def down(self) -> PartDown | None:
        """Why the broker cannot be reached now; None when it can."""
        return PartDown("broker", self._address, self._detail, START) if self._producer is None else None

    async def send_request(self, request: Request) -> None:
        """Appends to `requests.<pipeline>`, keyed by request id; returns when all in-sync replicas have it.

        Raises:
            PartDown: the broker cannot be reached, or did not acknowledge within `send_timeout_s`.
            Poison: the record is larger than the broker takes.
        """
        await self._send(topic_names.requests_topic(request.pipeline), request.id, request)

    async def send_cancel(self, pipeline: str, root_stage: str, request: str, stage: str = "", path: str = "") -> None:
        """Ends the request: a terminal record at the root stage's home decides it, one on `control` stops its calls.

        With a stage it ends the item of that stage at `path` and what derives from it: that is for the homes alone to
        say on `control`, since a path without its stage may be that of several calls.

        Raises:
            PartDown: as `send_request`; sending it again is harmless.
        """
        decision = Cancel(request, path, cause="cancelled by the client", stage=stage)
        await self._send(topic_names.home_topic(pipeline, root_stage), request, decision)
        if not stage:
            await self._send(topic_names.control_topic(pipeline), request, Cancelled(request=request, path=""))

    async def _send(self, topic: str, key: str, record: Wire) -> None:
        producer = self._producer
        if producer is None:
            raise PartDown("broker", self._address, self._detail, START)
        if self._in_flight >= MAX_IN_FLIGHT:
            raise PartDown("broker", self._address, f"{MAX_IN_FLIGHT} records wait for it", "try again", 1)
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.send_and_wait(topic, encode(record), key=key.encode())
        except MessageSizeTooLargeError as error:
            raise Poison(f"{topic}: {error}") from None
        except UnknownTopicOrPartitionError:
            raise self._failed(f"topic {topic} does not exist", "create it with `alto-streams topics apply`") from None
        except (KafkaError, TimeoutError) as error:
            self._lost(producer, f"{topic} did not acknowledge within {self._timeout_s:g} s ({type(error).__name__})")
            raise self._failed(self._detail, START) from None
        finally:
            self._in_flight -= 1

    def _failed(self, detail: str, remedy: str) -> PartDown:
        return PartDown("broker", self._address, detail, remedy)

    def _lost(self, producer: AIOKafkaProducer, detail: str) -> None:
        if self._producer is not producer:
            return  # another send noticed it first
        self._producer = None
        self._detail = detail
        log.warning("broker at %s: %s; reconnecting", self._address, detail)
        self._reconnect(producer)

    def _reconnect(self, old: AIOKafkaProducer | None = None) -> None:
        self._connecting = asyncio.create_task(self._connect(old), name="ingress-connect")

    async def _connect(self, old: AIOKafkaProducer | None) -> None:
        if old is not None:
            await _close(old)
        backoff = Backoff()
        while self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=bootstrap_servers(self._address),
                client_id="alto-gateway",
                acks="all",
                linger_ms=0,
                request_timeout_ms=int(self._timeout_s * 1000),
            )
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                await _close(producer)
                self._detail = f"no connection ({type(error).__name__})"
                wait = backoff.next_s()
                log.warning("broker at %s: %s; trying again in %.1f s", self._address, self._detail, wait)
                await asyncio.sleep(wait)
            except BaseException:
                await _close(producer)
                raise
            else:
                self._producer = producer
                log.info("broker at %s: connected", self._address)


async def _close(producer: AIOKafkaProducer) -> None:
    # A producer's stop() waits for all its batches: without a broker, for as long as their timeout. Failed here, one
    # that is being sent fails a second time, which ends its sender with an error of no interest any more.
    producer._message_accumulator.fail_all(KafkaConnectionError("the producer is being rebuilt"))
    try:
        await producer.stop()
    except Exception:
        log.debug("a producer ended badly", exc_info=True)
        with contextlib.suppress(Exception):
            await producer.client.close()
