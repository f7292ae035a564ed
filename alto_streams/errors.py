"""Every error that this package raises for others to catch, as one tree.

AltoError
├── ConfigError             what a person wrote is wrong: a setting, a file, an option
│   ├── PipelineError       a pipeline's definition
│   ├── TopicsError         a topics file, or the topics of a broker
│   └── PortInUse           a port that a part needs is taken
├── Retryable               it may work the next time
│   └── PartDown            the broker, Redis or a gateway does not answer
├── Poison                  this record can never succeed
│   └── CallRejected        an engine refuses this call for good
│       └── TooLong         its prompt leaves no room to write
├── Fenced                  this worker may no longer act for its partitions
├── EngineUnavailable       an engine cannot be reached
│   ├── EngineOverloaded    it asks for patience
│   └── EngineBroke         it failed in the middle of a call
├── ProblemError            a gateway refused what a client asked for
├── EventsLost              events of a request are no longer to be had
├── NotInLog                what is asked for is not in the log
├── Stalled                 a worker makes no progress
├── PartFailed              a part of `up` did not start
└── CommandFailed           a command did what it could, and it was not enough

Errors that never leave their part stand there: `gateway.problems.Problem` (an HTTP answer),
`models.rests.Unsupported`, `simulator.virtual.SimulationError`, `local.signals.Interrupted`.
"""

from __future__ import annotations

from typing import Any


class AltoError(Exception):
    """Whatever this package raises on purpose. Its text names the part, the field and the remedy."""


class ConfigError(AltoError):
    """A setting is wrong. Names the setting, what was given and what would be right."""


class PipelineError(ConfigError):
    """A pipeline that cannot be inferred. Names the pipeline, the stage and the reason."""


class TopicsError(ConfigError):
    """Topics are not as they must be. Names the file or broker, the topic, what was found, and the remedy."""


class PortInUse(ConfigError):
    """Another process listens on a port that a part needs. Names the part, the address, the process and the setting."""


class Retryable(AltoError):
    """It may work the next time: the record stays unacknowledged and is tried again. Names the part and its address."""


class PartDown(Retryable):
    """A part (the broker, Redis, a gateway) does not answer. Names the part, its address and the remedy.

    `retry_after_s`: when trying again makes sense.
    """

    def __init__(self, part: str, address: str, detail: str, remedy: str, retry_after_s: int = 2) -> None:
        super().__init__(f"{part} at {address}: {detail}; {remedy}")
        self.part = part
        self.address = address
        self.detail = detail
        self.remedy = remedy
        self.retry_after_s = retry_after_s


class Poison(AltoError):
    """This record can never succeed: it goes to the dead-letter topic and is acknowledged."""


class CallRejected(Poison):
    """The engine refuses this call for good (too long, malformed): trying again cannot help. `cause` as above."""

    def __init__(self, cause: str, engine: str = "") -> None:
        super().__init__(_named(engine, cause))
        self.cause = cause


class TooLong(CallRejected):
    """The prompt leaves no room to write in the engine's context; the cause has the counts."""


class Fenced(AltoError):
    """This worker may no longer act for its partitions: it stops before it produces, and changes nothing."""


class EngineUnavailable(AltoError):
    """The engine cannot be reached or died: try again later.

    The text begins with `engine`, its name and address, if it is given: for logs. `cause` does not: it goes into
    records, and clients see it.
    """

    def __init__(self, cause: str, engine: str = "") -> None:
        super().__init__(_named(engine, cause))
        self.cause = cause


class EngineOverloaded(EngineUnavailable):
    """The engine asks for patience (HTTP 429, 503). `retry_after_s` is its own figure, if it gave one."""

    def __init__(self, cause: str, engine: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(cause, engine)
        self.retry_after_s = retry_after_s


class EngineBroke(EngineUnavailable):
    """The engine had taken the call and then failed, perhaps because of this very call: such tries are counted."""


class ProblemError(AltoError):
    """The gateway refused: its problem document (RFC 9457), with `status` and the `field` at fault if there is one."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        field = document.get("field")
        detail = document.get("detail") or document.get("title") or "no detail"
        super().__init__(f"{field}: {detail}" if field else str(detail))
        self.status = status
        self.field = field
        self.document = document


class EventsLost(AltoError):
    """What the client wants to hear of the request is no longer to be had; its result may still be asked for."""


class NotInLog(AltoError):
    """What is asked for is not in the log, or cannot be used from there. Names it, the reason, and what can be done."""


class Stalled(AltoError):
    """A worker makes no progress while records wait for it. Says for how long, and how many."""


class PartFailed(AltoError):
    """A part did not start, or died too often. Names it, its address, its log and the last that it wrote."""


class CommandFailed(AltoError):
    """The command did what it could, and it was not enough; the text is all that there is to say."""


def _named(engine: str, cause: str) -> str:
    return f"{engine}: {cause}" if engine else cause
