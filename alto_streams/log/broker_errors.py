"""What an error of Kafka's client is: a broker that is away, one that refuses, or records that cannot be read here."""

from __future__ import annotations

from collections.abc import Iterator

from aiokafka import codec
from aiokafka.errors import BrokerResponseError, CorruptRecordException, UnsupportedCodecError

from alto_streams.errors import ConfigError, PartDown
from alto_streams.parts import redacted

START = "start it (`alto-streams up`) or point ALTO_BROKER at it"
ASK_ITS_OPERATOR = "it answers, and refuses: its log says why, and its operator can allow it"
INSTALL = "install what reads it in this environment: pip install cramjam"

_NEEDS_NOTHING = ("producer", "uncompressed", "none")
_READABLE = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}


def is_readable(compression: str) -> bool:
    """Whether records can be read that a broker compresses so (`compression.type` of a topic)."""
    return compression in _NEEDS_NOTHING or _READABLE.get(compression, lambda: False)()


def told(error: BaseException, broker: str, doing: str) -> PartDown | ConfigError:
    """The error to raise for `error`, which came `doing` something at `broker`: what it is, and what helps."""
    at = redacted(broker)
    for each in _chain(error):
        if isinstance(each, UnsupportedCodecError):
            return ConfigError(f"the broker at {at} keeps compressed records, which cannot be read: {each}; {INSTALL}")
        if isinstance(each, CorruptRecordException):
            remedy = "see its log: its disk, or something on the way from it, has changed them"
            return PartDown("the broker", at, f"it sends damaged records ({each}) while {doing}", remedy)
    detail = f"{type(error).__name__} while {doing}"
    return PartDown("the broker", at, detail, ASK_ITS_OPERATOR if _is_refusal(error) else START)


def _is_refusal(error: BaseException) -> bool:
    """Whether the broker has answered, and will answer the same again."""
    return isinstance(error, BrokerResponseError) and not getattr(error, "retriable", False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
