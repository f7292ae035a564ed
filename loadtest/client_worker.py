"""One end of the client's benchmark: produces or fetches with nothing but aiokafka, and says what that cost.

    python -m loadtest.client_worker produce|fetch SERVERS TOPIC RATE COUNT

Settings and event loop are the workers'. It prints the milliseconds of processor time for each record, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from alto_streams.worker.app import use_fast_loop

PARTITIONS = 4
WARM_UP = 100  # records that are not counted
SIZE = 300  # bytes: the mean of the reference workload's records
SEED = 1
POLL_MS = 1_000
SETTLE_S = 3.0  # by then the other end fetches


async def produce(servers: str, topic: str, rate: float, count: int) -> float:
    """Sends records at Poisson instants, none waiting for another; returns the seconds of processor time."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=0)
    rng, loop, began_s = random.Random(SEED), asyncio.get_running_loop(), 0.0
    await producer.start()
    try:
        await asyncio.sleep(SETTLE_S)
        at = loop.time()
        for number in range(WARM_UP + count):
            if number == WARM_UP:
                began_s = time.process_time()
            at += rng.expovariate(rate)
            await asyncio.sleep(at - loop.time())
            await producer.send(topic, b"x" * SIZE, partition=number % PARTITIONS)
        await producer.flush()
        return time.process_time() - began_s
    finally:
        await producer.stop()


async def fetch(servers: str, topic: str, count: int) -> float:
    """Fetches what is produced, as soon as it is there; returns the seconds of processor time."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        fetched, began_s = 0, None
        while fetched < WARM_UP + count:
            found = await consumer.getmany(timeout_ms=POLL_MS)
            fetched += sum(map(len, found.values()))
            if began_s is None and fetched >= WARM_UP:
                began_s = time.process_time()
        return time.process_time() - (began_s or 0.0)
    finally:
        await consumer.stop()


def main() -> None:
    """Reads the arguments, runs, prints."""
    end, servers, topic, rate, count = sys.argv[1:]
    use_fast_loop()
    loop = asyncio.get_event_loop()  # the fast one
    work = produce(servers, topic, float(rate), int(count)) if end == "produce" else fetch(servers, topic, int(count))
    print(json.dumps(loop.run_until_complete(work) * 1000 / int(count)))


if __name__ == "__main__":
    main()
