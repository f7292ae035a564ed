#!/usr/bin/env bash
# aiokafka 0.14.0: create_topics and delete_topics return as if all were well when the broker has refused every topic.
#
# Date: 2026-12-01. Run on Python 3.11 against Apache Kafka 4.1.1.
# Behaviour: `AIOKafkaAdminClient.create_topics` and `delete_topics` raise nothing for an error of a topic. They return the
#   broker's answer, in which each topic has an error code. `create_partitions` of the same client raises for the same kind
#   of error.
# Seen: a topic with three replicas on one broker: returned, code 38; one that exists: returned, code 36; deleting one that
#   does not: returned, code 3. create_partitions with fewer partitions than there are: InvalidPartitionsError.
# Why a good guess is wrong: a good engineer expects an exception, because the method next to it raises one, and writes
#   `except TopicAlreadyExistsError` around the call, which that exception is never thrown into. The topic is missing, and
#   what is seen of it comes much later: a consumer that waits for it.
# Remedy: look at the code of each topic in what is returned.
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

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError


async def outcome(call):
    """The codes that came back, or what was raised."""
    try:
        answer = await call
    except KafkaError as error:
        return f"raised {type(error).__name__}"
    rows = answer.topic_errors if hasattr(answer, "topic_errors") else answer.topic_error_codes
    return f"returned code {rows[0][1]}"


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    try:
        return {
            "create one": await outcome(admin.create_topics([NewTopic("one", 1, 1)])),
            "create one again": await outcome(admin.create_topics([NewTopic("one", 1, 1)])),
            "create with 3 replicas": await outcome(admin.create_topics([NewTopic("two", 1, 3)])),
            "delete what is not": await outcome(admin.delete_topics(["three"])),
            "fewer partitions": await outcome(admin.create_partitions({"one": NewPartitions(1)})),
        }
    finally:
        await admin.close()


EXPECTED = {
    "create one": "returned code 0",
    "create one again": "returned code 36",
    "create with 3 replicas": "returned code 38",
    "delete what is not": "returned code 3",
    "fewer partitions": "raised InvalidPartitionsError",
}
seen = asyncio.run(main())
for name, value in seen.items():
    print(f"{name:23} {value}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
