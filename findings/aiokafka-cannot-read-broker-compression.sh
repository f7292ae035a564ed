#!/usr/bin/env bash
# aiokafka 0.14.0 can append to a topic that it cannot read: the broker's compression.type decides, not the producer's.
#
# Date: 2026-12-01. Run on Python 3.11 against Apache Kafka 4.1.1, aiokafka installed without extras.
# Behaviour: a topic with compression.type=lz4 (or zstd, snappy) is compressed anew by the broker, whatever the producer sent.
#   aiokafka installed as `aiokafka` reads none of the three. The error comes at once with each poll, and the position stays.
# Seen: sending three plain records was acknowledged. Each poll raised UnsupportedCodecError ("Libraries for lz4 compression
#   codec not found"), also for zstd and snappy; with gzip and without a codec all three records came.
# Why a good guess is wrong: a good engineer expects that a client which compresses nothing needs no codec, because codecs are a
#   setting of the producer, and because the same client has just written there without an error. An operator's setting on
#   the broker, made for other clients, ends readers that worked for months.
# Remedy: install `aiokafka[all]`, and treat the error as permanent, not as a poll to be tried again.
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

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnsupportedCodecError

CODECS = ["lz4", "zstd", "snappy", "gzip", "uncompressed"]


async def read(topic):
    """How many records two polls bring, or what each says; and where the reader stands then."""
    outcomes = []
    async with AIOKafkaConsumer(bootstrap_servers=sys.argv[1], auto_offset_reset="earliest") as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        for _ in range(2):
            try:
                found = await consumer.getmany(timeout_ms=2_000)
                outcomes.append(sum(len(records) for records in found.values()))
            except UnsupportedCodecError as error:
                outcomes.append(str(error))
        return outcomes, await consumer.position(partition)


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    await admin.create_topics([NewTopic(codec, 1, 1, topic_configs={"compression.type": codec}) for codec in CODECS])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=sys.argv[1]) as producer:
        for codec in CODECS:
            for number in range(3):
                await producer.send_and_wait(codec, b"%d" % number)
    return {codec: await read(codec) for codec in CODECS}


def refused(codec):
    said = f"UnsupportedCodecError: Libraries for {codec} compression codec not found"
    return [said, said], 0


EXPECTED = {codec: refused(codec) for codec in CODECS[:3]} | {codec: ([3, 0], 3) for codec in CODECS[3:]}
seen = asyncio.run(main())
for codec, (outcomes, position) in seen.items():
    print(f"compression.type={codec}: two polls {outcomes}, position {position}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
