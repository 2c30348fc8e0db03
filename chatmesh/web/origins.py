"""Which pages may call from a browser, and under which names we may be called: pure.

A browser says in `Origin` which page is behind a request, and lets that page read the answer only where we name it. Pages of
our own origin always may; others where they are listed, exactly. What changes something is refused for all others, so that
no page can act in the name of whoever looks at it. `Host` is what a page was told that we are called: one that points a name
of its own at this machine (DNS rebinding) counts as our own origin, and is only told apart by that name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from chatmesh.web.problem import Problem

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""What this machine calls itself."""

PREFLIGHT_SECONDS = 600
"""How long a browser may keep a preflight's answer. Chromium keeps none for longer than two hours."""

EXPOSED = (
    "Location, Retry-After, X-Request-Id, X-Message-Id, X-Session-Id, X-Should-Retry, "
    "X-Vercel-AI-UI-Message-Stream"
)
"""Of our answers' headers, what a page may read beside those that it always may."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADER_NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(, ?[A-Za-z0-9-]{1,64}){0,31}")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origins:
    """`allowed`: origins beside our own, as browsers write them. `hosts`: names (without a port) that we may be called by;
    None: any."""

    allowed: frozenset[str] = frozenset()
    hosts: frozenset[str] | None = None

    def refusal(self, method: str, host: str, origin: str | None, fetch_site: str = "") -> Problem | None:
        """Why a request is not taken; None: it is. `fetch_site` is its `Sec-Fetch-Site`."""
        if self.hosts is not None and _name(host) not in self.hosts:
            return Problem(
                403,
                "host_not_allowed",
                "This server is called by another name than those it answers to; http.allowed_hosts has them.",
            )
        if origin is None or method in _SAFE or self.is_known(host, origin, fetch_site):
            return None
        return not_allowed()

    def is_known(self, host: str, origin: str, fetch_site: str = "") -> bool:
        """Whether a page of that origin may act here: it is ours, or listed. A proxy may call us by another name than the
        browser calls it; the browser knows then, and no page can say it in its place."""
        return origin in self.allowed or fetch_site == "same-origin" or _is_own(host, origin)

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """For every answer: whether the page that asked may read it. Nothing changes for pages of our own."""
        if not self.allowed:
            return {}
        if origin not in self.allowed:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": str(origin),
            # For the cookie of a page on the same site; who calls with a token needs none.
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": EXPOSED,
        }

    def preflight(self, origin: str, methods: Collection[str], asked_headers: str) -> dict[str, str]:
        """The headers of the answer to a browser's question whether it may call. Raises Problem 403
        `origin_not_allowed`."""
        if origin not in self.allowed:
            raise not_allowed()
        answer = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        if _HEADER_NAMES.fullmatch(asked_headers):
            answer["Access-Control-Allow-Headers"] = asked_headers
        return answer


def not_allowed() -> Problem:
    return Problem(
        403,
        "origin_not_allowed",
        "Pages of that origin may not call here; the operator can list it in http.allowed_origins.",
    )


def _is_own(host: str, origin: str) -> bool:
    """Whatever the scheme: behind a proxy that ends TLS we don't know which one the browser sees."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme)
        own = urlsplit(f"//{host}")
        return bool(parts.hostname) and (parts.hostname, port) == (own.hostname, own.port or port)
    except ValueError:
        return False


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
