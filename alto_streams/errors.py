"""What can go wrong while a record is carried out, besides `records.Poison` and `settings.ConfigError`."""

from __future__ import annotations


class Retryable(Exception):
    """It may work the next time: the record stays unacknowledged and is tried again. Names the part and its address."""


class Fenced(Exception):
    """This worker may no longer act for its partitions: it stops before it produces, and changes nothing."""
