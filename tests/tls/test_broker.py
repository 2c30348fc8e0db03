"""TLS to the broker: an encrypted connection or none, and every way in which it fails says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatmesh.app import Mesh
from chatmesh.broker.sealed import SealedTransport
from chatmesh.errors import BrokerUnreachableError, ConfigError, NotAuthorisedError
from chatmesh.kernel import StartFailed, real_cause
from tests.support.broker import Broker
from tests.support.certificates import Authority
from tests.support.mesh import client_of, running
from tests.support.processes import Process
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.tls.conftest import NewBroker
from tests.tls.support import CREDENTIALS, LOGIN, PASSWORD, encrypted, greeting, recording

pytestmark = pytest.mark.slow

QUICK = ("nats.connect_seconds=3",)


async def answers(mesh: Mesh) -> bool:
    """Whether a message is answered."""
    async with client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", "hello", model="echo")
        return (await stream.read_finals()).text == "hello"


async def refusal(url: str, *settings: str) -> BaseException:
    """Why a process does not start there."""
    with pytest.raises(StartFailed) as failed:
        async with running(url, *QUICK, *settings, role="worker"):
            raise AssertionError("it started")
    cause = real_cause(failed.value)
    assert PASSWORD not in str(cause)
    return cause


async def test_message_is_answered_over_an_encrypted_connection(
    new_broker: NewBroker, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await new_broker(**LOGIN)
    async with running(encrypted(broker), f"nats.tls.ca_file={authority.ca_file}", *CREDENTIALS) as mesh:
        assert await answers(mesh)
        await broker.restart()
        await eventually(lambda: mesh.is_ready, timeout=20)
        assert await answers_again(mesh)
    assert not caplog.records, "nor does a library complain of how it is used"


async def answers_again(mesh: Mesh) -> bool:
    async with client_of(mesh) as client, events(client, "t") as stream:
        await post(client, "t", "again", model="echo")
        return (await stream.read_finals()).text == "again"


async def test_server_that_shakes_hands_first_is_spoken_to_so(
    new_broker: NewBroker, authority: Authority
) -> None:
    broker = await new_broker("handshake_first: true", **LOGIN)
    settings = (f"nats.tls.ca_file={authority.ca_file}", "nats.tls.handshake_first=true")
    async with running(encrypted(broker), *settings, *CREDENTIALS) as mesh:
        assert await answers(mesh)


async def test_certificate_says_who_we_are_where_the_server_asks_for_one(
    new_broker: NewBroker, authority: Authority
) -> None:
    broker = await new_broker(f'ca_file: "{authority.ca_file}"', "verify: true")
    ours = authority.sign("worker@mesh")
    settings = (
        f"nats.tls.ca_file={authority.ca_file}",
        f"nats.tls.cert_file={ours.cert_file}",
        f"nats.tls.key_file={ours.key_file}",
    )
    async with running(encrypted(broker), *settings) as mesh:
        assert await answers(mesh)


async def test_server_that_leaves_the_choice_is_spoken_to_encrypted(
    new_broker: NewBroker, authority: Authority
) -> None:
    """It greets with `tls_available`, and would take a password in clear too."""
    broker = await new_broker(more="allow_non_tls: true", **LOGIN)
    async with running(
        encrypted(broker), f"nats.tls.ca_file={authority.ca_file}", *CREDENTIALS, role="worker"
    ) as mesh:
        client = mesh.broker.connection._client  # nothing else tells an encrypted one
        assert client is not None
        assert client.is_encrypted


async def test_certificate_of_an_authority_that_is_not_ours_is_refused(
    new_broker: NewBroker, authority: Authority, tmp_path: Path
) -> None:
    broker = await new_broker(**LOGIN)
    other = Authority(tmp_path, "other")
    for settings in ((f"nats.tls.ca_file={other.ca_file}",), ()):
        error = await refusal(encrypted(broker), *settings, *CREDENTIALS)
        assert isinstance(error, BrokerUnreachableError)
        assert "certificate is not trusted" in str(error)
        assert "nats.tls.ca_file" in str(error)


async def test_certificate_for_another_name_is_refused(new_broker: NewBroker, authority: Authority) -> None:
    broker = await new_broker(identity=authority.sign("elsewhere.example"), **LOGIN)
    error = await refusal(encrypted(broker), f"nats.tls.ca_file={authority.ca_file}", *CREDENTIALS)
    assert isinstance(error, BrokerUnreachableError)
    assert "is for another name" in str(error)
    assert "127.0.0.1" in str(error)
    assert "nats.servers" in str(error)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_server_that_asks_for_a_certificate_and_gets_none_is_named_so(
    new_broker: NewBroker, authority: Authority, version: str
) -> None:
    broker = await new_broker(f'ca_file: "{authority.ca_file}"', "verify: true", f'min_version: "{version}"')
    error = await refusal(encrypted(broker), f"nats.tls.ca_file={authority.ca_file}")
    assert isinstance(error, NotAuthorisedError)
    assert "asks for a certificate of ours" in str(error)
    assert "nats.tls.cert_file" in str(error)


async def test_certificate_that_the_server_does_not_trust_is_named_so(
    new_broker: NewBroker, authority: Authority, tmp_path: Path
) -> None:
    broker = await new_broker(f'ca_file: "{authority.ca_file}"', "verify: true")
    strange = Authority(tmp_path, "other").sign("worker@mesh")
    error = await refusal(
        encrypted(broker),
        f"nats.tls.ca_file={authority.ca_file}",
        f"nats.tls.cert_file={strange.cert_file}",
        f"nats.tls.key_file={strange.key_file}",
    )
    assert isinstance(error, NotAuthorisedError)
    assert "nats.tls.cert_file" in str(error)


async def test_ordinary_server_where_the_handshake_should_come_first_is_named_so(
    new_broker: NewBroker, authority: Authority
) -> None:
    broker = await new_broker(**LOGIN)
    settings = (f"nats.tls.ca_file={authority.ca_file}", "nats.tls.handshake_first=true")
    error = await refusal(encrypted(broker), *settings, *CREDENTIALS)
    assert isinstance(error, BrokerUnreachableError)
    assert "nats.tls.handshake_first" in str(error)


async def test_server_that_shakes_hands_first_and_is_greeted_otherwise_is_named_so(
    new_broker: NewBroker, authority: Authority
) -> None:
    broker = await new_broker("handshake_first: true", **LOGIN)
    ca_file = f"nats.tls.ca_file={authority.ca_file}"
    error = await refusal(encrypted(broker), ca_file, *CREDENTIALS)
    assert isinstance(error, BrokerUnreachableError)
    assert "nats.tls.handshake_first" in str(error)


async def test_file_that_is_no_certificate_is_named(authority: Authority, tmp_path: Path) -> None:
    own, nothing, absent = authority.sign("ann"), tmp_path / "no.pem", tmp_path / "absent.pem"
    nothing.write_text("nothing")
    for key, named, settings in (
        ("ca_file", nothing, (f"nats.tls.ca_file={nothing}",)),
        ("ca_file", absent, (f"nats.tls.ca_file={absent}",)),
        ("key_file", absent, (f"nats.tls.cert_file={own.cert_file}", f"nats.tls.key_file={absent}")),
        ("cert_file", own.cert_file, (f"nats.tls.cert_file={own.cert_file}", f"nats.tls.key_file={nothing}")),
        ("cert_file", nothing, (f"nats.tls.cert_file={nothing}", f"nats.tls.key_file={own.key_file}")),
    ):
        with pytest.raises(ConfigError) as refused:
            async with running("tls://127.0.0.1:1", *settings, role="worker"):
                raise AssertionError("it started")
        assert f"nats.tls.{key}" in str(refused.value)
        assert str(named) in str(refused.value)


async def test_process_that_finds_no_tls_ends_with_3_and_says_so(
    chatmesh: Callable[..., Process], tmp_path: Path
) -> None:
    broker = await Broker.start(tmp_path, **LOGIN)
    settings = [f"nats.servers={encrypted(broker)}", *QUICK, *CREDENTIALS]
    try:
        process = chatmesh("run", "--role", "worker", *(part for s in settings for part in ("--set", s)))
        assert await process.wait(timeout=30) == 3
    finally:
        broker.stop()
    last = process.stderr.splitlines()[-1]
    assert "does not offer TLS" in last
    assert encrypted(broker) in last
    assert "use nats://" in last


async def test_server_that_hangs_up_instead_of_an_answer_is_no_connection() -> None:
    async with recording(greeting) as recorder:
        recorder.hangs_up = True
        error = await refusal(recorder.url)
        assert isinstance(error, BrokerUnreachableError)
        assert "ended the connection without an answer" in str(error)
        assert recorder.everything


# --- nothing in clear ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "greet",
    [
        pytest.param(greeting, id="no word of TLS"),
        pytest.param(lambda: greeting(tls_required=False, auth_required=True), id="TLS not required"),
        pytest.param(lambda: greeting(tls_required=True), id="TLS promised and not spoken"),
        pytest.param(lambda: greeting(tls_available=True), id="TLS offered and not spoken"),
        pytest.param(lambda: b"", id="silent"),
    ],
)
@pytest.mark.parametrize("way", ["address", "settings", "handshake first"])
async def test_no_credential_ever_reaches_one_who_does_not_speak_tls(
    authority: Authority, greet: Callable[[], bytes], way: str
) -> None:
    async with recording(greet) as recorder:
        url = recorder.url.replace("nats://", "tls://") if way == "address" else recorder.url
        settings = () if way == "address" else (f"nats.tls.ca_file={authority.ca_file}",)
        if way == "handshake first":
            settings = ("nats.tls.handshake_first=true",)
        error = await refusal(url, "nats.connect_seconds=2", *settings, *CREDENTIALS)
        assert isinstance(error, BrokerUnreachableError)
        assert recorder.received, "nobody came, so nothing is proved"
        assert_nothing_in_clear(recorder.everything)


def assert_nothing_in_clear(received: bytes) -> None:
    """At most the beginning of a handshake: no command of the protocol, no credential."""
    for word in (b"CONNECT", b"PING", b"PUB", b"SUB", b"user", b"ann", PASSWORD.encode()):
        assert word not in received
    assert not received or received[:1] == b"\x16", "the first byte of a handshake"


@pytest.mark.slow
async def test_nothing_is_sent_in_clear_when_a_server_without_tls_takes_the_place_of_the_old_one(
    new_broker: NewBroker, authority: Authority
) -> None:
    """What the client had left to send included: it is flushed when the client is closed."""
    broker = await new_broker(**LOGIN)
    settings = (f"nats.tls.ca_file={authority.ca_file}", *CREDENTIALS)
    async with running(encrypted(broker), *settings) as mesh:
        async with client_of(mesh) as client:
            await post(client, "s", model="count", max_tokens=1000, tokens_per_second=100)
        broker.kill()
        async with recording(greeting, broker.port) as impostor:
            await eventually(lambda: len(impostor.received) > 3, timeout=20)
            client_of_broker = (
                mesh.broker.connection._client
            )  # what a rebuilt connection does to the old client
            assert client_of_broker is not None
            client_of_broker._pending.append(b"PUB left.over 5\r\nxyzzy\r\n")
            client_of_broker._pending_data_size += 24
            await client_of_broker.close()
            await eventually(lambda: len(impostor.received) > 5, timeout=20)
            assert_nothing_in_clear(impostor.everything)
            assert b"xyzzy" not in impostor.everything


@pytest.mark.parametrize(("is_local", "warnings"), [(True, 0), (False, 1)])
async def test_secret_that_goes_in_clear_over_a_network_is_warned_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_local: bool,
    warnings: int,
) -> None:
    """On this machine nobody listens in between; and a test has no other one."""
    monkeypatch.setattr(SealedTransport, "is_local", is_local)
    broker = await Broker.start(tmp_path, **LOGIN)
    try:
        async with running(broker.url, *CREDENTIALS, role="worker"):
            said = capsys.readouterr()
    finally:
        broker.stop()
    assert (said.out + said.err).count("broker.secret_in_clear") == warnings
