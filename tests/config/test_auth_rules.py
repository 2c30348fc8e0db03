"""Nobody is let in by mistake: what `auth` lacks, or what it stands beside, is a problem before anything listens."""

from __future__ import annotations

import pytest

from chatmesh.config import Config, load
from chatmesh.config.problems import InvalidConfigError

JWT = ("auth.mode=jwt", "auth.jwt.issuer=i", "auth.jwt.audience=a")
SECRET = "x" * 32


def config(*overrides: str, role: str = "pod") -> Config:
    return load(None, environ={}, overrides=overrides, role=role).config


def problems(*overrides: str, role: str = "pod") -> str:
    with pytest.raises(InvalidConfigError) as caught:
        config(*overrides, role=role)
    return str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])  # noqa: S104 - read, not bound
def test_pod_does_not_listen_to_the_world_without_asking_who_is_calling(host: str) -> None:
    text = problems(f"http.host={host}")
    assert "auth.mode" in text
    assert "auth.allow_anonymous" in text
    assert config(f"http.host={host}", "auth.allow_anonymous=true").auth.mode == "none"
    assert config(f"http.host={host}", "auth.mode=api_keys", "auth.keys_file=k").auth.mode == "api_keys"
    assert config(f"http.host={host}", "http.enabled=true", role="worker").http.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_on_loopback_nobody_has_to_be_asked(host: str) -> None:
    assert config(f"http.host={host}").auth.mode == "none"


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        pytest.param(("auth.mode=api_keys",), "auth.keys_file", id="no file of keys"),
        pytest.param(JWT, "auth.jwt.jwks_url", id="no key"),
        pytest.param((*JWT[:2], "auth.jwt.jwks_url=http://x"), "auth.jwt.audience", id="no audience"),
        pytest.param(
            ("auth.mode=jwt", JWT[2], "auth.jwt.jwks_url=http://x"), "auth.jwt.issuer", id="no issuer"
        ),
        pytest.param((*JWT, "auth.jwt.algorithms=HS256"), "auth.jwt.algorithms", id="no secret"),
        pytest.param(
            (*JWT, "auth.jwt.algorithms=HS256", "auth.jwt.public_key_file=k.pem"),
            "auth.jwt.algorithms",
            id="a public key for a secret",
        ),
        pytest.param((*JWT, f"auth.jwt.secret={SECRET}"), "auth.jwt.secret", id="a secret for a public key"),
        pytest.param(
            (*JWT, "auth.jwt.algorithms=HS256,RS256", f"auth.jwt.secret={SECRET}"),
            "auth.jwt.algorithms",
            id="two families",
        ),
        pytest.param(
            (*JWT, "auth.jwt.algorithms=HS256", "auth.jwt.secret=short"),
            "auth.jwt.secret",
            id="a short secret",
        ),
        pytest.param(("auth.secret=short",), "auth.secret", id="a short secret for links"),
        pytest.param((*JWT, "auth.jwt.algorithms=none"), "auth.jwt.algorithms[0]", id="algorithm none"),
    ],
)
def test_what_is_missing_or_does_not_go_together_is_named(settings: tuple[str, ...], place: str) -> None:
    text = problems(*settings)
    assert f" {place}: " in text
    assert "short" not in text


def test_worker_needs_no_keys_of_callers() -> None:
    assert config(*JWT[:1], role="worker").auth.mode == "jwt"
