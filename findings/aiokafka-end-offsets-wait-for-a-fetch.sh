#!/usr/bin/env bash
# aiokafka 0.14.0: asking a quiet topic for its end takes as long as a fetch may wait, once the consumer has begun to fetch.
#
# Date: 2026-12-01. Run on Python 3.11 against Apache Kafka 4.1.1.
# Behaviour: the broker holds a fetch of a topic without new records for `fetch_max_wait_ms`. What the same consumer asks the
#   same broker meanwhile is answered only after it.
# Seen: with fetch_max_wait_ms=5000 `end_offsets` of an empty topic took under 1 s before the partition was assigned, and over
#   4 s after the first poll. The poll itself had returned after its own timeout of 100 ms.
# Why a good guess is wrong: a good engineer expects milliseconds, because the call is one small request, because the poll
#   before it is over by its own timeout, and because a request id on each request suggests that answers may overtake each
#   other. It is slow just where there is nothing to read: at the start, on empty topics, in tests of them.
# Remedy: ask for ends before partitions are assigned, or with a consumer of their own.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common/kafka.sh"
folder=$(mktemp -d)
KAFKA_PID=
trap '[ -z "$KAFKA_PID" ] || kill -9 "$KAFKA_PID" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile aiokafka==0.14.0
start_kafka "$folder/kafka"

"$folder/venv/bin/python" - "$KAFKA" <<'EOF'
import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

QUIET = TopicPartition("quiet", 0)


async def took(call):
    began = time.monotonic()
    await call
    return time.monotonic() - began


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    await admin.create_topics([NewTopic(QUIET.topic, 1, 1)])
    await admin.close()
    async with AIOKafkaConsumer(bootstrap_servers=sys.argv[1], fetch_max_wait_ms=5_000) as consumer:
        await consumer.end_offsets([QUIET])  # connects, and waits until the new topic is known
        before = await took(consumer.end_offsets([QUIET]))
        consumer.assign([QUIET])
        poll = await took(consumer.getmany(timeout_ms=100))
        return before, poll, await took(consumer.end_offsets([QUIET]))


EXPECTED = {"before": "under 1 s", "poll": "under 1 s", "after": "over 3 s"}
before, poll, after = asyncio.run(main())
print(f"end_offsets before the assignment {before:.2f} s, the poll {poll:.2f} s, end_offsets after it {after:.2f} s")
words = {"before": before, "poll": poll, "after": after}
seen = {name: "under 1 s" if s < 1 else "over 3 s" if s > 3 else f"{s:.1f} s" for name, s in words.items()}
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
