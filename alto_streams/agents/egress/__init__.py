"""Brings the client's events from the log to Redis."""
