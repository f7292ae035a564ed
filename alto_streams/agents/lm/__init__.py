"""The worker in front of an engine."""
