"""Logs and metrics. Every metric is declared once, in `metrics`; every log event is `room.verb` with keys."""

from chatmesh.telemetry import metrics
from chatmesh.telemetry.logs import configure_logging, get_logger

__all__ = ["configure_logging", "get_logger", "metrics"]
