#!/usr/bin/env bash
# prometheus-client 0.26.0: one NaN given to a histogram is in no bucket and no count, and makes the sum NaN for ever.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: `Histogram.observe(nan)` raises nothing and adds to no bucket, so `_count` does not see it; `_sum` becomes NaN
#   and stays so. `Counter.inc(nan)` is accepted though negative amounts are refused, and makes the counter NaN for good.
# Seen: after observe(nan), observe(1), observe(2): count 2, +Inf bucket 2, sum NaN. After inc(nan) and inc(1): NaN.
# Why a good guess is wrong: a good engineer expects NaN to fall into the +Inf bucket, as everything that is larger than no
#   bound does, or to be refused as inc(-1) is. Then a wrong measurement would show as one observation too many. Here all
#   counts look right, and every mean made of sum and count is NaN until the process ends.
# Remedy: refuse what is not finite before it is observed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile prometheus-client==0.26.0

"$folder/venv/bin/python" - <<'EOF'
import math
import sys

from prometheus_client import CollectorRegistry, Counter, Histogram

registry = CollectorRegistry()
took = Histogram("took_seconds", "How long it took.", buckets=(1.5, 10), registry=registry)
for value in (math.nan, 1, 2):
    took.observe(value)
calls = Counter("calls", "How many there were.", registry=registry)
try:
    calls.inc(-1)
    negative = "accepted"
except ValueError:
    negative = "ValueError"
calls.inc(math.nan)
calls.inc(1)


def value(name, **labels):
    return str(registry.get_sample_value(name, labels))


EXPECTED = {
    "bucket 1.5": "1.0",
    "bucket 10": "2.0",
    "bucket +Inf": "2.0",
    "count": "2.0",
    "sum": "nan",
    "inc(-1)": "ValueError",
    "counter": "nan",
}
seen = {
    "bucket 1.5": value("took_seconds_bucket", le="1.5"),
    "bucket 10": value("took_seconds_bucket", le="10.0"),
    "bucket +Inf": value("took_seconds_bucket", le="+Inf"),
    "count": value("took_seconds_count"),
    "sum": value("took_seconds_sum"),
    "inc(-1)": negative,
    "counter": value("calls_total"),
}
for name, what in seen.items():
    print(f"{name:12} {what}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
