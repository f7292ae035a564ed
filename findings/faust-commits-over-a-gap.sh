#!/usr/bin/env bash
# faust-streaming 0.15.3 commits an offset above records that were never acknowledged: they are not delivered again.
#
# Date: 2026-12-01. Run on Python 3.11 with aiokafka 0.14.0 against Apache Kafka 4.1.1.
# Behaviour: in a partition in which the group had committed nothing yet, Faust committed behind the first run of offsets that
#   had been acknowledged, though none before that run had.
# Seen: of records 0 to 19 an agent acknowledged 5, 6, 7 and 12 (`stream.noack().events()`, then `event.ack()`). The committed
#   offset became 8. The next worker of the group was given 8 to 19; 0 to 4 came never again.
# Why a good guess is wrong: a good engineer expects to be able to acknowledge out of order, because events are acknowledged one
#   by one, and a committed offset can only be moved to the first record that is missing: Faust tracks single offsets for
#   just this. The loss shows only where a worker ends with records in flight.
# Remedy: acknowledge in order: hold each acknowledgement until all before it in the partition are there.
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


def worker():
    """A worker whose agent acknowledges nothing by itself, and the events that it was given."""
    app = faust.App(
        "group",
        broker=f"kafka://{sys.argv[1]}",
        datadir=sys.argv[2],
        web_enabled=False,
        topic_disable_leader=True,
        broker_commit_interval=0.5,
        stream_wait_empty=False,
    )
    given = []

    @app.agent(app.topic("work", key_type=bytes, value_type=bytes))
    async def hold(stream):
        async for event in stream.noack().events():
            given.append(event)

    return app, given


async def main():
    await prepare(1, 20)
    first, given = worker()
    await first.start()
    await until(lambda: len(given) == 20, "all delivered")
    for offset in (5, 6, 7, 12):
        given[offset].ack()
    await first.consumer.commit()
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    (committed,) = (await admin.list_consumer_group_offsets("group")).values()
    await admin.close()
    await first.stop()
    second, given = worker()
    await second.start()
    await until(lambda: any(event.message.offset == 19 for event in given), "the rest delivered again")
    await second.stop()
    return {"committed": committed.offset, "again": [event.message.offset for event in given]}


EXPECTED = {"committed": 8, "again": list(range(8, 20))}
seen = asyncio.run(main())
print(f"acknowledged 5, 6, 7, 12 of 0 to 19; committed {seen['committed']}; delivered again: {seen['again']}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
