"""Subjects and the tokens that they are made of: nobody's identifier reaches another's subject."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings

from chatmesh.errors import ProtocolError
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import (
    PATTERN,
    Token,
    is_token,
    new_boot,
    new_correlation_id,
    new_message_id,
    token,
)
from tests.protocol.values import HOSTILE, TEXTS, TOKENS

BUILDERS: dict[str, tuple[Callable[..., str], str]] = {
    "execute": (subjects.execute, "chat.workflow.execute.{0}"),
    "response": (subjects.response, "chat.pod.{0}.response"),
    "broadcast": (subjects.broadcast, "chat.session.{0}.broadcast"),
    "pod_health": (subjects.pod_health, "chat.pod.{0}.health"),
    "pod_heartbeat": (subjects.pod_heartbeat, "chat.pod.{0}.heartbeat"),
    "worker_health": (subjects.worker_health, "chat.worker.{0}.health"),
    "worker_heartbeat": (subjects.worker_heartbeat, "chat.worker.{0}.heartbeat"),
    "claim": (subjects.claim, "chat.session.{0}.claim"),
    "stop": (subjects.stop, "chat.session.{0}.stop.{1}"),
    "erased": (subjects.erased, "chat.session.{0}.erased"),
    "transcript": (subjects.transcript, "chat.session.{0}.transcript.{1}"),
    "transcript_of": (subjects.transcript_of, "chat.session.{0}.transcript.*"),
    "session_log": (subjects.session_log, "chat.session.{0}.>"),
    "registry": (subjects.registry, "chat.registry.{0}.{1}"),
    "registry_of": (subjects.registry_of, "chat.registry.{0}.*"),
    "retry": (subjects.retry, "chat.registry.~retry.{0}"),
    "dead_letter": (subjects.dead_letter, "chat.dead.{0}"),
}
PATTERNS = {
    subjects.EXECUTE_ALL: "execute",
    subjects.BROADCAST_ALL: "broadcast",
    subjects.POD_HEARTBEATS: "pod_heartbeat",
    subjects.WORKER_HEARTBEATS: "worker_heartbeat",
    subjects.CLAIM_ALL: "claim",
    subjects.STOP_ALL: "stop",
    subjects.ERASED_ALL: "erased",
    subjects.TRANSCRIPT_ALL: "transcript",
    subjects.REGISTRY_ALL: "registry",
    subjects.DEAD_LETTERS_ALL: "dead_letter",
}


PARTS = {"retry": "registry"}
"""Which pattern hears those of another one, too."""


def built(name: str, *tokens: Token) -> str:
    builder, shape = BUILDERS[name]
    return builder(*tokens[: 2 if "{1}" in shape else 1])


def matches(pattern: str, subject: str) -> bool:
    """As NATS matches: `*` is one token, `>` one or more."""
    form = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.fullmatch(form, subject) is not None


@pytest.mark.parametrize("name", BUILDERS)
@given(one=TOKENS, other=TOKENS)
@settings(deadline=None, max_examples=20)
def test_a_subject_is_its_pattern_with_the_tokens_in_it(name: str, one: Token, other: Token) -> None:
    assert built(name, one, other) == BUILDERS[name][1].format(one, other)


@given(one=TOKENS, other=TOKENS)
@settings(deadline=None, max_examples=50)
def test_a_subject_is_heard_by_its_own_listeners_only(one: Token, other: Token) -> None:
    for name in BUILDERS:
        subject = built(name, one, other)
        if "*" not in subject and ">" not in subject:
            heard = [pattern for pattern in PATTERNS if matches(pattern, subject)]
            assert heard == [pattern for pattern, of in PATTERNS.items() if of in (name, PARTS.get(name))]


@given(one=TOKENS, other=TOKENS, pod=TOKENS)
@settings(deadline=None, max_examples=50)
def test_a_filter_of_one_session_matches_no_other(one: Token, other: Token, pod: Token) -> None:
    for of, subject in (
        (subjects.transcript_of, subjects.transcript),
        (subjects.registry_of, subjects.registry),
    ):
        assert matches(of(one), subject(one, pod))
        assert matches(of(one), subject(other, pod)) == (one == other)


@given(session=TOKENS, other=TOKENS)
@settings(deadline=None, max_examples=50)
def test_what_is_kept_of_a_request_is_of_no_session(session: Token, other: Token) -> None:
    assert not matches(subjects.registry_of(session), subjects.retry(other))
    assert subjects.is_no_session(subjects.retry(other))
    assert not subjects.is_no_session(subjects.registry(session, other))


@given(TOKENS)
@settings(deadline=None, max_examples=20)
def test_the_third_token_is_the_identifier(one: Token) -> None:
    for name in ("broadcast", "response", "pod_heartbeat", "worker_heartbeat", "claim", "dead_letter"):
        assert subjects.third_token(built(name, one)) == one
    assert subjects.third_token(subjects.transcript(one, Token("m"))) == one


# --- tokens ------------------------------------------------------------------------------------------------------------


@given(TEXTS | TOKENS)
@settings(deadline=None, max_examples=200)
def test_a_token_is_what_the_contracts_pattern_says(text: str) -> None:
    allowed = re.fullmatch(PATTERN.strip("^$"), text, re.ASCII) is not None
    assert is_token(text) == allowed
    if allowed:
        assert token(text, "session_id") == text
        return
    with pytest.raises(ProtocolError, match="session_id must match") as caught:
        token(text, "session_id")
    assert caught.value.where == "session_id"


@pytest.mark.parametrize(
    "text", [*HOSTILE, "a" * 129, "abc\n", "a.b", "Ａ", "\ud800", None, 5, True, b"abc", ["a"]]
)
def test_what_would_break_a_subject_is_no_token(text: object) -> None:
    assert not is_token(text)
    with pytest.raises(ProtocolError):
        token(text, "pod_id")


def test_a_refused_token_is_shown_short_and_escaped() -> None:
    with pytest.raises(ProtocolError) as caught:
        token("\n" * 5000, "session_id")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("make", [new_message_id, new_correlation_id, new_boot])
def test_a_fresh_id_is_a_token_and_never_the_same(make: Callable[[], str]) -> None:
    made = {make() for _ in range(100)}
    assert len(made) == 100
    assert all(is_token(one) for one in made)
