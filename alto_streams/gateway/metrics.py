"""What a gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One registry per app, so that several gateways can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.accepted = Counter(
            "alto_gateway_requests_accepted", "Requests appended to the log", ["pipeline"], registry=self.registry
        )
        self.repeated = Counter(
            "alto_gateway_requests_repeated", "Answered by idempotency key", ["pipeline"], registry=self.registry
        )
        self.cancelled = Counter(
            "alto_gateway_requests_cancelled", "Cancellations appended", ["pipeline"], registry=self.registry
        )
        self.problems = Counter("alto_gateway_problems", "Problem documents sent", ["kind"], registry=self.registry)
        self.accept_s = Histogram(
            "alto_gateway_accept_seconds",
            "POST received to acknowledged by the broker",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge("alto_gateway_streams", "Open event streams", registry=self.registry)
        self.events = Counter("alto_gateway_events", "Client events sent", registry=self.registry)
        self.event_age_s = Histogram(
            "alto_gateway_event_age_seconds",
            "Event appended at the home to sent to a client that was waiting for it",
            buckets=SECONDS,
            registry=self.registry,
        )

    def page(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)
