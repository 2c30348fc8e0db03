"""The keys that tokens are signed with: one from the configuration, or an issuer's set, fetched and kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import httpx
import jwt

from chatmesh.identity.refusal import NotKnownError
from chatmesh.telemetry import get_logger

log = get_logger("identity")

FETCH_SECONDS = 5.0
MAX_BYTES = 1_048_576
AGAIN_SECONDS = 10.0
"""Between two fetches for key ids that are not known, whoever sends how many of them; and after one that failed."""

FAMILIES = {
    "HS": ("HS256", "HS384", "HS512"),
    "RS": ("RS256", "RS384", "RS512"),
    "ES": ("ES256", "ES384", "ES512"),
    "Ed": ("EdDSA",),
}
_KEY_TYPES = {"RS": "RSA", "ES": "EC", "Ed": "OKP"}


class SigningKeys(Protocol):
    """A key by its id."""

    async def find(self, kid: object) -> Any:
        """What `jwt.decode` takes. Raises NotKnownError."""


class FixedKey:
    """The one key, whatever id a token names."""

    def __init__(self, key: Any) -> None:
        self._key = key

    async def find(self, kid: object) -> Any:
        return self._key


class FetchedKeys:
    """An issuer's set. Fetched when it is first asked for, when it is old, and (rarely) for an id that is not in it; once
    at a time, however many ask. While the issuer is away the last good set stays."""

    def __init__(
        self,
        url: str,
        *,
        algorithms: tuple[str, ...],
        refresh_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._key_type = _KEY_TYPES[algorithms[0][:2]]
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._keys: dict[str | None, Any] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: object) -> Any:
        if kid is not None and not isinstance(kid, str):
            raise NotKnownError("the token's kid is no text")
        if self._is_old or kid not in self._keys:
            await self._fetch(kid)
        key = self._keys.get(kid)
        if key is None and kid is None and len(self._keys) == 1:
            key = next(iter(self._keys.values()))
        if key is None:
            raise NotKnownError("the token is signed with a key that the issuer does not have")
        return key

    @property
    def _is_old(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at >= self._refresh_seconds

    async def _fetch(self, kid: str | None) -> None:
        async with self._lock:
            if kid in self._keys and not self._is_old:
                return  # somebody else has fetched it meanwhile
            if self._tried_at is not None and self._clock() - self._tried_at < AGAIN_SECONDS:
                return
            self._tried_at = self._clock()
            try:
                self._keys = await self._load()
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, jwt.PyJWTError, TimeoutError) as error:
                log.warning("identity.keys_not_fetched", url=self._url, error=repr(error)[:200])
                return
            self._fetched_at = self._clock()
            log.info("identity.keys_fetched", url=self._url, keys=len(self._keys))

    async def _load(self) -> dict[str | None, Any]:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx.AsyncClient(timeout=FETCH_SECONDS) as client,
            client.stream("GET", self._url) as answer,
        ):
            answer.raise_for_status()
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    raise ValueError(f"the set has more than {MAX_BYTES} bytes")
        return keys_in(body, self._key_type)


def keys_in(body: bytes, key_type: str) -> dict[str | None, Any]:
    """The set's signing keys of that type, by id. Raises ValueError and jwt.PyJWTError where there are none."""
    found: dict[str | None, Any] = {}
    for key in jwt.PyJWKSet.from_json(body.decode()).keys:
        # A shared secret in a public set would let anybody sign.
        if key.key_type == key_type and key.public_key_use in (None, "sig"):
            found[key.key_id] = key.key
    if not found:
        raise ValueError(f"the set has no {key_type} key for signatures")
    return found
