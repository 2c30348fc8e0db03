"""Every way to say who we are, at a real server: what is right answers, what is wrong is exit code 4 with what to do."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys
import pytest

from chatmesh.broker.nkeys import new_user_key
from chatmesh.errors import ConfigError, Exit, NotAuthorisedError
from chatmesh.kernel import StartFailed, real_cause
from tests.support.broker import Broker
from tests.support.certificates import Authority
from tests.support.mesh import client_of, running
from tests.support.reading import events, post

UNLIMITED = dict.fromkeys(
    [
        "subs",
        "data",
        "payload",
        "imports",
        "exports",
        "conn",
        "leaf",
        "mem_storage",
        "disk_storage",
        "streams",
        "consumer",
    ],
    -1,
)


@dataclass
class Way:
    """`server` is added to its configuration; `right` and `wrong` are settings of the process."""

    server: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    scheme: str = "nats"


def password(_folder: Path) -> Way:
    server = 'authorization { user: "ann", password: "s3cret" }\n'
    return Way(server, ("nats.user=ann", "nats.password=s3cret"), ("nats.user=ann", "nats.password=other"))


def token(_folder: Path) -> Way:
    return Way('authorization { token: "s3cret" }\n', ("nats.token=s3cret",), ("nats.token=other",))


def nkey(folder: Path) -> Way:
    known, unknown = new_user_key(), new_user_key()
    (folder / "known.nk").write_text(known.seed + "\n")
    (folder / "unknown.nk").write_text(unknown.seed + "\n")
    right, wrong = (f"nats.nkey_seed_file={folder / name}" for name in ("known.nk", "unknown.nk"))
    return Way(f"authorization {{ users: [{{ nkey: {known.public} }}] }}\n", (right,), (wrong,))


def creds(folder: Path) -> Way:
    """An operator with an account, and a user whose token the account has signed."""
    operator, account, system, user, stranger = (
        _pair(kind)
        for kind in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
            nkeys.PREFIX_BYTE_ACCOUNT,
        )
    )
    known, sys = (_public(pair) for pair in (account, system))
    limits = {"limits": UNLIMITED | {"wildcards": True}}
    server = (
        f"operator: {_jwt(operator, _public(operator), 'operator', {'system_account': sys})}\n"
        f"system_account: {sys}\nresolver: MEMORY\nresolver_preload: {{\n"
        f"  {known}: {_jwt(operator, known, 'account', limits)}\n"
        f"  {sys}: {_jwt(operator, sys, 'account', {'limits': limits['limits'] | {'mem_storage': 0, 'disk_storage': 0}})}\n}}\n"
    )
    files = []
    for name, issuer in (("known", account), ("unknown", stranger)):
        jwt = _jwt(issuer, _public(user), "user", {"subs": -1, "data": -1, "payload": -1})
        files.append(folder / f"{name}.creds")
        files[-1].write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{bytes(user.seed).decode()}\n------END USER NKEY SEED------\n"
        )
    right, wrong = (f"nats.creds_file={file}" for file in files)
    return Way(server, (right,), (wrong,))


def mapped_certificate(folder: Path) -> Way:
    """The certificate's name is the user's."""
    authority = Authority(folder)
    shown, known, unknown = (
        authority.sign(name) for name in ("127.0.0.1", "worker@mesh.example", "x@mesh.example")
    )
    server = (
        f'tls {{ cert_file: "{shown.cert_file}", key_file: "{shown.key_file}", ca_file: "{authority.ca_file}", '
        'verify_and_map: true, timeout: 5 }\nauthorization { users: [{ user: "worker@mesh.example" }] }\n'
    )
    right, wrong = (
        (
            f"nats.tls.ca_file={authority.ca_file}",
            f"nats.tls.cert_file={identity.cert_file}",
            f"nats.tls.key_file={identity.key_file}",
        )
        for identity in (known, unknown)
    )
    return Way(server, right, wrong, scheme="tls")


@pytest.mark.parametrize("key", ["nats.nkey_seed_file", "nats.creds_file"])
@pytest.mark.parametrize("content", [None, "", "nothing of the kind", "-----BEGIN NATS USER JWT-----\nx\n"])
async def test_file_that_holds_no_key_is_exit_2_and_named(
    tmp_path: Path, key: str, content: str | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as refused:
        async with running("nats://127.0.0.1:1", f"{key}={file}", role="worker"):
            raise AssertionError("it started")
    assert refused.value.exit_code is Exit.USAGE
    assert key in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("prepare", [password, token, nkey, creds, mapped_certificate])
async def test_right_one_answers_and_wrong_one_is_exit_4_with_what_to_do(
    tmp_path: Path, prepare: Callable[[Path], Way]
) -> None:
    way = prepare(tmp_path)
    broker = await Broker.start(tmp_path, config_extra=way.server)
    url = broker.url.replace("nats://", f"{way.scheme}://")
    try:
        async with running(url, *way.right) as mesh, client_of(mesh) as client, events(client, "s") as stream:
            await post(client, "s", "hello", model="echo")
            assert (await stream.read_finals()).text == "hello"
        for settings in (way.wrong, () if way.scheme == "nats" else way.wrong):
            with pytest.raises(StartFailed) as failed:
                async with running(url, *settings, role="worker"):
                    raise AssertionError("it started")
            cause = real_cause(failed.value)
            assert isinstance(cause, NotAuthorisedError)
            assert cause.exit_code is Exit.NOT_AUTHORISED
            assert "nats.nkey_seed_file" in str(cause)
            assert "s3cret" not in str(cause)
    finally:
        broker.stop()


def _pair(kind: int) -> Any:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), kind)))


def _public(pair: Any) -> str:
    return str(pair.public_key.decode())


def _jwt(issuer: Any, subject: str, kind: str, nats: dict[str, Any]) -> str:
    claims = {
        "jti": subject,
        "iat": 1_700_000_000,
        "iss": _public(issuer),
        "sub": subject,
        "name": kind,
        "nats": nats | {"type": kind, "version": 2},
    }
    text = ".".join(
        _base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)
    )
    return f"{text}.{_base64(issuer.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
