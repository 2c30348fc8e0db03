"""The section `tracing`: where spans go."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from chatmesh.config.section import Amount, Line, Section, Wants


def _endpoint(address: str) -> str:
    """What is quoted in the error holds no credentials."""
    expected = "expected an address such as http://127.0.0.1:4318/v1/traces"
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{expected}, got one that is none") from None
    if "@" in address:
        raise ValueError(f"{expected}, without credentials; they go into OTEL_EXPORTER_OTLP_HEADERS")
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch("[!-~]+", address):
        raise ValueError(f"{expected}, got {address!r}")
    return address


Endpoint = Annotated[
    str, AfterValidator(_endpoint), Wants("an address such as http://127.0.0.1:4318/v1/traces")
]


class TracingConfig(Section):
    """Spans of each message's way, sent over OTLP/HTTP. Needs the extra `otel`."""

    endpoint: Endpoint | None = Field(
        default=None,
        description="Where a collector takes spans, with the path, such as http://127.0.0.1:4318/v1/traces; null: there are none.",
    )
    service_name: Line = Field(default="chatmesh", description="What the spans' service is called.")
    sample_ratio: Annotated[Amount, Field(ge=0, le=1)] = Field(
        default=1,
        description="How many of the traces that begin here are recorded, 1 is all; a client's traceparent decides for itself.",
    )
