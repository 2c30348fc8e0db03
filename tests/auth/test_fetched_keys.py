"""An issuer's keys: fetched once, kept, rotated, and not fetched for whoever asks for unknown ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from chatmesh.identity import FetchedKeys, NotKnownError, Tokens, TokenSettings
from tests.auth.support import AUDIENCE, ISSUER, claims

SETTINGS = TokenSettings(("RS256",), ISSUER, AUDIENCE, "tenant", "scope", None, 0)


class Issuer:
    """Serves a set of keys over a real socket, and counts."""

    def __init__(self) -> None:
        self.private: dict[str, rsa.RSAPrivateKey] = {}
        self.more: list[dict[str, Any]] = []
        self.status = 200
        self.fetched = 0
        self.url = ""

    def add(self, kid: str) -> None:
        self.private[kid] = rsa.generate_private_key(65537, 2048)

    def token(self, kid: str) -> str:
        return jwt.encode(claims(), self.private[kid], algorithm="RS256", headers={"kid": kid})

    async def serve(self, _request: web.Request) -> web.Response:
        self.fetched += 1
        await asyncio.sleep(0)
        keys = [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"}
            for kid, key in self.private.items()
        ]
        return web.json_response({"keys": [*keys, *self.more]}, status=self.status)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    issuer.add("one")
    app = web.Application()
    app.router.add_get("/keys", issuer.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield issuer
    await runner.cleanup()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def tokens(issuer: Issuer, clock: Clock) -> Tokens:
    keys = FetchedKeys(issuer.url, algorithms=("RS256",), refresh_seconds=3600, clock=clock)
    return Tokens(SETTINGS, keys)


async def test_many_who_come_at_once_cost_one_fetch(issuer: Issuer) -> None:
    known = tokens(issuer, Clock())
    callers = await asyncio.gather(*(known.identify(issuer.token("one")) for _ in range(20)))
    assert {caller.user for caller in callers} == {"alice"}
    assert issuer.fetched == 1


async def test_storm_of_unknown_key_ids_costs_one_fetch_until_it_may_be_asked_again(issuer: Issuer) -> None:
    clock = Clock()
    known = tokens(issuer, clock)
    await known.identify(issuer.token("one"))
    clock.now += 11
    forged = [
        jwt.encode(claims(), issuer.private["one"], "RS256", {"kid": f"k{number}"}) for number in range(20)
    ]
    results = await asyncio.gather(*map(known.identify, forged), return_exceptions=True)
    assert all(isinstance(result, NotKnownError) for result in results)
    assert issuer.fetched == 2
    issuer.add("two")
    with pytest.raises(NotKnownError):
        await known.identify(issuer.token("two"))
    assert (await known.identify(issuer.token("one"))).user == "alice"  # who is known is not held up
    clock.now += 11
    assert (await known.identify(issuer.token("two"))).user == "alice"  # rotated
    assert issuer.fetched == 3


async def test_last_good_set_stays_while_the_issuer_is_away_and_goes_when_it_says_so(issuer: Issuer) -> None:
    clock = Clock()
    known = tokens(issuer, clock)
    old = issuer.token("one")
    await known.identify(old)
    clock.now += 4000
    issuer.status = 500
    assert (await known.identify(old)).user == "alice"
    issuer.status = 200
    del issuer.private["one"]
    issuer.add("two")
    clock.now += 11
    assert (await known.identify(issuer.token("two"))).user == "alice"
    with pytest.raises(NotKnownError):
        await known.identify(old)


async def test_secret_in_a_public_set_signs_nothing(issuer: Issuer) -> None:
    issuer.more = [{"kty": "oct", "kid": "shared", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"}]
    known = tokens(issuer, Clock())
    assert (await known.identify(issuer.token("one"))).user == "alice"
    forged = jwt.encode(claims(), "secretsecretsecretsecretsecretse", "HS256", {"kid": "shared"})
    with pytest.raises(NotKnownError):
        await known.identify(forged)
