"""Prometheus' figures of one server."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """What a server counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "likewise_requests", "Requests answered", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "likewise_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self.in_flight = Gauge("likewise_requests_in_flight", "Requests at work", registry=self._registry)
        self.batch_items = Histogram(
            "likewise_batch_items", "Items answered together", buckets=_SIZES, registry=self._registry
        )
        self.records = Gauge("likewise_records", "Records in the index", registry=self._registry)

    @cache  # noqa: B019  # lives as long as the server; routes and statuses are few
    def route(self, path: str, status: int) -> tuple[Counter, Histogram]:
        """The counter and the times of a route; looking them up costs more than counting."""
        return self.requests.labels(path, str(status)), self.seconds.labels(path)

    def batch(self, items: int, jobs: int) -> None:
        """Count a batch."""
        del jobs
        self.batch_items.observe(items)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
