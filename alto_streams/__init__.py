"""Pipelines of language models, served by streaming partial outputs between stages over Kafka."""
