"""Tokens that are none: forged, expired, for somebody else. Over real sockets, as an attacker sends them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.errors import ConfigError
from chatmesh.identity import NotKnownError, TokenSettings
from chatmesh.identity.api_keys import caller_of as caller_of_key
from chatmesh.identity.api_keys import mint, parse_keys
from chatmesh.identity.tokens import caller_of
from chatmesh.protocol.callers import Scope
from tests.auth.support import AUDIENCE, ISSUER, SECRET, asking, bearer, claims, token
from tests.support.broker import Broker
from tests.support.mesh import client_of, running

SETTINGS = TokenSettings(("HS256",), ISSUER, AUDIENCE, "tenant", "scope", None, 0)


def unsigned(said: dict[str, Any], head: dict[str, Any]) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, said)
    ]
    return ".".join([*parts, ""])


def tampered(text: str) -> str:
    head, _, signature = text.split(".")
    said = base64.urlsafe_b64encode(json.dumps(claims("mallory")).encode()).rstrip(b"=").decode()
    return f"{head}.{said}.{signature}"


BAD = {
    "alg none": lambda: unsigned(claims(), {"alg": "none", "typ": "JWT"}),
    "alg None": lambda: unsigned(claims(), {"alg": "None"}),
    "another algorithm of the secret": lambda: jwt.encode(claims(), SECRET, algorithm="HS512"),
    "another secret": lambda: jwt.encode(claims(), SECRET + "!", algorithm="HS256"),
    "tampered": lambda: tampered(token()),
    "expired": lambda: token(exp=int(time.time()) - 1),
    "not yet valid": lambda: token(nbf=int(time.time()) + 600),
    "of another issuer": lambda: token(iss="https://evil.test"),
    "for another audience": lambda: token(aud="else"),
    "without exp": lambda: token(exp=None),
    "without sub": lambda: token(sub=None),
    "without iss": lambda: token(iss=None),
    "without aud": lambda: token(aud=None),
    "without tenant": lambda: token(tenant=None),
    "an empty user": lambda: token(sub=""),
    "a tenant that is a list": lambda: token(tenant=["acme"]),
    "control characters in the user": lambda: token(sub="a\nb"),
    "crit": lambda: jwt.encode(claims(), SECRET, algorithm="HS256", headers={"crit": ["x"], "x": 1}),
    "nothing": lambda: "x",
    "dots": lambda: "..",
    "oversized": lambda: "e" * 8150,
}


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(broker.url, role="pod", id="p") as (_, client):
        yield client


async def test_no_bad_token_gets_in_and_no_answer_says_what_was_sent(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/sessions", headers=bearer(token()))).status_code == 200
    for name, make in BAD.items():
        text = make()
        answer = await client.get("/v1/sessions", headers=bearer(text))
        assert answer.status_code in (401, 400, 431), f"{name}: {answer.status_code} {answer.text}"
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), name
            assert answer.json()["code"] == "unauthenticated", name
        assert len(text) < 20 or text[:20] not in answer.text, name


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Basic YTpi"}, id="another scheme"),
        pytest.param({"Authorization": "Bearer"}, id="nothing behind it"),
        pytest.param({"Authorization": f"Bearer {'a' * 8000}"}, id="oversized"),
        pytest.param({"x-api-key": ""}, id="an empty key"),
    ],
)
async def test_who_says_nothing_of_use_is_told_how(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.get("/v1/sessions", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="chatmesh"'


async def test_two_credentials_are_none(client: httpx.AsyncClient) -> None:
    twice = [("Authorization", f"Bearer {token()}"), ("Authorization", f"Bearer {token('bob')}")]
    assert (await client.get("/v1/sessions", headers=twice)).status_code == 401


async def test_public_key_does_not_pass_for_a_secret(broker: Broker, tmp_path: Path) -> None:
    """HS256 signed with the RSA public key, which everybody has."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(pem)
    own = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    async with (
        running(
            broker.url,
            "auth.mode=jwt",
            f"auth.jwt.public_key_file={tmp_path / 'public.pem'}",
            f"auth.jwt.issuer={ISSUER}",
            f"auth.jwt.audience={AUDIENCE}",
            role="pod",
        ) as mesh,
        client_of(mesh) as client,
    ):
        good = jwt.encode(claims(), own, algorithm="RS256")
        assert (await client.get("/v1/sessions", headers=bearer(good))).status_code == 200
        forged = _hs256_with(pem)
        assert (await client.get("/v1/sessions", headers=bearer(forged))).status_code == 401


def _hs256_with(pem: bytes) -> str:
    """By hand: the library refuses to sign so."""
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    body = unsigned(claims(), {"alg": "HS256", "typ": "JWT"}).rstrip(".")
    mac = hmac.new(pem, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_each_family_is_verified_with_its_own_kind_of_key(
    broker: Broker, tmp_path: Path, algorithm: str
) -> None:
    private = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else ed25519.Ed25519PrivateKey.generate()
    )
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(pem)
    settings = (
        "auth.mode=jwt",
        f"auth.jwt.algorithms={algorithm}",
        f"auth.jwt.public_key_file={tmp_path / 'public.pem'}",
        f"auth.jwt.issuer={ISSUER}",
        f"auth.jwt.audience={AUDIENCE}",
    )
    async with running(broker.url, *settings, role="pod") as mesh, client_of(mesh) as client:
        good = jwt.encode(claims(), private, algorithm=algorithm)
        assert (await client.get("/v1/sessions", headers=bearer(good))).status_code == 200
        assert (await client.get("/v1/sessions", headers=bearer(token()))).status_code == 401


async def test_missing_scope_is_told_by_name(broker: Broker) -> None:
    async with asking(broker.url, "auth.open_metrics=false", role="pod") as (_, client):
        reader = bearer(token(scope="read"))
        body = {"message": "a"}
        refused = await client.post("/v1/sessions/s/messages", json=body, headers=reader)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
        chat = {"model": "echo", "messages": [{"role": "user", "content": "a"}]}
        refused = await client.post("/v1/chat/completions", json=chat, headers=reader)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
        assert (await client.get("/v1/sessions", headers=reader)).status_code == 200
        assert (await client.get("/v1/sessions", headers=bearer(token(scope="else")))).status_code == 403
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=reader)).status_code == 403
        operator = bearer(token(scope=["operate"]))
        assert (await client.get("/metrics", headers=operator)).status_code == 200
        assert (await client.get("/v1/sessions", headers=operator)).status_code == 403


# --- parsers --------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("exp", "sub", "tenant", "scope"), JSON)))
def test_claims_of_any_shape_are_a_caller_or_not_known(said: dict[str, Any]) -> None:
    try:
        caller = caller_of(said, SETTINGS)
    except NotKnownError:
        return
    assert caller.user == said["sub"]
    assert caller.tenant == said["tenant"]


@given(st.text(max_size=100) | st.from_regex(r"cm_[a-z0-9]{12}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_no_text_passes_for_a_key(text: str) -> None:
    key, secret = mint("u", "t", frozenset({Scope.READ}), None)
    assert caller_of_key(secret, {key.id: key}, 0.0).user == "u"
    for keys in ({}, {key.id: key}):
        with pytest.raises(NotKnownError):
            caller_of_key(text, keys, 0.0)
    with pytest.raises(NotKnownError):
        caller_of_key(f"cm_{key.id}_{'A' * 43}", {key.id: key}, 0.0)


@given(
    st.text(max_size=200)
    | st.sampled_from(["- 1", "keys: 3", "keys: [{id: x}]", "a: [", "- {id: abcdefabcdef}"])
)
def test_file_of_keys_is_a_file_of_keys_or_a_configuration_error(text: str) -> None:
    try:
        found = parse_keys(text, "keys.yaml")
    except ConfigError:
        return
    assert found == {}


def test_expired_key_is_not_known() -> None:
    key, secret = mint("u", "t", frozenset({Scope.READ}), 10.0)
    assert caller_of_key(secret, {key.id: key}, 9.0).expires_at == 10.0
    with pytest.raises(NotKnownError, match="expired"):
        caller_of_key(secret, {key.id: key}, 10.0)
