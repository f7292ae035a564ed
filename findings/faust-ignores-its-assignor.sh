#!/usr/bin/env bash
# faust-streaming 0.15.3 takes no notice of the setting PartitionAssignor in an app without tables and without standbys.
#
# Date: 2026-12-01. Run on Python 3.11 with aiokafka 0.14.0 against Apache Kafka 4.1.1.
# Behaviour: the app setting `PartitionAssignor` names the class that assigns partitions. An app that has no table and sets
#   `table_standby_replicas=0` uses aiokafka's round robin instead, without a word.
# Seen: the assignor of the running consumer was RoundRobinPartitionAssignor with no table and 0 standbys; our own class with
#   no table and 1 standby (the default), and with a table and 0 standbys.
# Why a good guess is wrong: a good engineer expects a setting that is given to be used or refused, and sets standby replicas
#   to 0 in an app that has no table to stand by for. That one line, about something else, turns the assignor off; the work
#   is still spread, only not as planned.
# Remedy: leave standby replicas at 1, and check which assignor the consumer has.
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
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.assignor.partition_assignor import PartitionAssignor


class Planned(PartitionAssignor):
    """An assignor of one's own."""


async def assignor(tables, standbys):
    """The name of the class that the running consumer assigns with."""
    app = faust.App(
        f"app-{tables}-{standbys}",
        broker=f"kafka://{sys.argv[1]}",
        store="memory://",
        datadir=f"{sys.argv[2]}/{tables}-{standbys}",
        web_enabled=False,
        topic_disable_leader=True,
        topic_replication_factor=1,
        table_standby_replicas=standbys,
        PartitionAssignor=Planned,
    )
    for number in range(tables):
        app.Table(f"table{number}", partitions=1)

    @app.agent(app.topic("work", key_type=bytes, value_type=bytes))
    async def nothing(stream):
        async for _ in stream:
            pass

    await app.start()
    end = time.monotonic() + 60
    while not app.consumer.assignment():
        if time.monotonic() > end:
            sys.exit("not assigned within 60 s")
        await asyncio.sleep(0.05)
    (used,) = app.consumer._thread._consumer._coordinator._assignors
    await app.stop()
    return (used if isinstance(used, type) else type(used)).__name__


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    await admin.create_topics([NewTopic("work", 1, 1)])
    await admin.close()
    return {(tables, standbys): await assignor(tables, standbys) for tables, standbys in EXPECTED}


EXPECTED = {(0, 1): "Planned", (1, 0): "Planned", (0, 0): "RoundRobinPartitionAssignor"}
seen = asyncio.run(main())
for (tables, standbys), name in seen.items():
    print(f"PartitionAssignor=Planned, {tables} tables, {standbys} standby replicas: {name}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
