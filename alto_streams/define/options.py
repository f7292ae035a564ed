"""Options of the command line that a pipeline brings: of its requests, and of the system that serves it.

Pipeline("factcheck", request=Question, options=[
    Flag("--brief", "Answer in one sentence.", {"brief": True}),
    Folder("--corpus", "A folder of text files.", "ALTO_CORPUS"),
])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Flag:
    """An option of `ask` and `run`: it adds `fields` to a request's input."""

    option: str
    help: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Folder:
    """An option of `up`, `demo` and `run` that takes a folder: workers find it in the environment, as `variable`."""

    option: str
    help: str
    variable: str
