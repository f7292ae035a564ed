"""How often what is told for placing calls is told, in seconds: by workers that run, and by simulated ones. Pure."""

from __future__ import annotations

REPORT_S = 1.0  # an LM worker's report to `engines`
LOAD_S = 0.1  # its load to Redis, while it works
PLAN_S = 1.0  # the scheduler's look at whether a new plan is due
