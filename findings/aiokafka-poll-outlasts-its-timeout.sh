#!/usr/bin/env bash
# aiokafka 0.14.0: a poll with timeout_ms=200 lasts as long as a rebalance, however long the revocation takes.
#
# Date: 2026-12-01. Run on Python 3.11 against Apache Kafka 4.1.1.
# Behaviour: once a group has begun to rebalance, `getmany` first waits for the new assignment, without a bound, and only then
#   counts its timeout. The assignment comes after `on_partitions_revoked` of the consumer's listener has returned.
# Seen: polls took 0.2 s until a second member joined. The listener then took 3 s to give its partitions up, and the poll
#   begun meanwhile took over 2.5 s.
# Why a good guess is wrong: a good engineer expects a poll to return within its timeout, because that is the only thing that
#   the argument says; so a listener may wait for the poll loop to come round and hand over what it holds. Then the loop
#   waits for the listener, and the listener for the loop.
# Remedy: bound the poll from outside (`asyncio.wait_for`), and whatever a listener waits for.
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

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

REVOCATION_S = 3


class Slow(ConsumerRebalanceListener):
    async def on_partitions_revoked(self, revoked):
        if revoked:
            await asyncio.sleep(REVOCATION_S)

    async def on_partitions_assigned(self, assigned):
        pass


def member():
    return AIOKafkaConsumer(bootstrap_servers=sys.argv[1], group_id="group", heartbeat_interval_ms=300)


async def polls(consumer, count):
    """The longest of so many polls, in seconds."""
    longest = 0.0
    for _ in range(count):
        began = time.monotonic()
        await consumer.getmany(timeout_ms=200)
        longest = max(longest, time.monotonic() - began)
    return longest


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    await admin.create_topics([NewTopic("work", 4, 1)])
    await admin.close()
    async with member() as first, member() as second:
        first.subscribe(["work"], listener=Slow())
        while not first.assignment():
            await first.getmany(timeout_ms=200)
        calm = await polls(first, 10)
        second.subscribe(["work"])
        joined = asyncio.create_task(second.getmany(timeout_ms=200))
        rebalancing = await polls(first, 20)
        await joined
        return calm, rebalancing


EXPECTED = {"calm": "under 1 s", "rebalancing": "over 2.5 s"}
calm, rebalancing = asyncio.run(main())
print(f"the longest poll of timeout_ms=200: calm {calm:.2f} s, while rebalancing {rebalancing:.2f} s")
words = {"calm": calm, "rebalancing": rebalancing}
seen = {name: "under 1 s" if s < 1 else "over 2.5 s" if s > 2.5 else f"{s:.1f} s" for name, s in words.items()}
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
