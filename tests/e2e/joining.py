"""The simulation's pipeline with recorded models, for workers of their own: `ALTO_PIPELINES=tests.e2e.joining`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from alto_streams.models.scripted import Script
from alto_streams.wire.records import Call
from tests.simulation.script import pipeline

__all__ = ["pipeline", "script"]


def script(path: Path) -> Script:
    """A recording: JSON of stage -> prompt -> the whole output."""
    outputs = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])

    def said(prompt_class: str, call: Call) -> str | None:
        return outputs.get(prompt_class.rpartition(".")[2], {}).get(call.subject)

    return said
