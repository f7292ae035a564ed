"""Kafka: all that reads from it and writes to it."""
