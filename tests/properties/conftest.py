"""Hypothesis as these tests want it: how long an example takes says more about the machine than about the code."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("properties", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("properties")
