"""Pipelines of language models, served by streaming partial outputs between stages over Kafka."""

from importlib.metadata import version

__version__ = version("alto-streams")
