#!/usr/bin/env bash
# faust-streaming 0.15.3 processes finished records again when a second worker joins, though nothing has crashed.
#
# Date: 2026-12-01. Run on Python 3.11 with aiokafka 0.14.0 against Apache Kafka 4.1.1.
# Behaviour: when partitions are revoked, Faust forgets the acknowledgements that no commit has carried yet. Whatever was
#   finished since the last commit by the clock (`broker_commit_interval`) is delivered to the next owner once more.
# Seen: one worker finished all 40 records of four partitions, with a commit due once a minute. A second worker joined, and
#   records were processed a second time.
# Why a good guess is wrong: a good engineer expects a rebalance without a crash to repeat nothing, as a consumer is told of
#   the revocation before it happens, so that it can commit, and because all acknowledgements had been made. At-least-once is
#   read as "after a crash"; here each deployment and each scaling repeats up to one interval of work.
# Remedy: commit in a subclass of the consumer before handing the revocation on, and make processing idempotent.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common/kafka.sh"
folder=$(mktemp -d)
KAFKA_PID=
trap '[ -z "$KAFKA_PID" ] || kill -9 "$KAFKA_PID" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile \
    faust-streaming==0.15.3 aiokafka==0.14.0
start_kafka "$folder/kafka"

"$folder/venv/bin/python" - "$KAFKA" "$folder" <<'EOF'
import asyncio
import sys
import time

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def prepare(partitions, values):
    """A topic, and so many records in each of its partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    await admin.create_topics([NewTopic("work", partitions, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=sys.argv[1]) as producer:
        for partition in range(partitions):
            for number in range(values):
                await producer.send_and_wait("work", b"%d" % number, partition=partition)


async def until(true, what):
    end = time.monotonic() + 60
    while not true():
        if time.monotonic() > end:
            sys.exit(f"not within 60 s: {what}")
        await asyncio.sleep(0.05)


times = {}


def worker(name):
    app = faust.App(
        "group",
        broker=f"kafka://{sys.argv[1]}",
        datadir=f"{sys.argv[2]}/{name}",
        web_enabled=False,
        topic_disable_leader=True,
        broker_commit_interval=60.0,
        broker_heartbeat_interval=0.5,
    )

    @app.agent(app.topic("work", key_type=bytes, value_type=bytes))
    async def count(stream):
        async for event in stream.events():
            record = event.message.partition, event.message.offset
            times[record] = times.get(record, 0) + 1

    return app


async def main():
    await prepare(4, 10)
    first, second = worker("first"), worker("second")
    await first.start()
    await until(lambda: len(times) == 40, "all finished once")
    once = all(count == 1 for count in times.values())
    await second.start()
    await until(lambda: any(count > 1 for count in times.values()) or 0 < len(second.consumer.assignment()) < 4, "joined")
    await asyncio.sleep(5)
    await second.stop()
    await first.stop()
    return once, sum(count > 1 for count in times.values())


EXPECTED = (True, True)
once, replayed = asyncio.run(main())
print(f"each of 40 records finished once before: {once}; records processed again after the second worker came: {replayed}")
seen = (once, replayed > 0)
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
