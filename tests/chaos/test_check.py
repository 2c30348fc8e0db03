"""The check of what a reader saw bites: whatever may happen to a stream of chunks is found, and named as what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.client import Fate
from chatmesh.operate.chaos.check import MAX_FINDINGS, Kind, Posted, Watch

TOKENS = {"m1": 3, "m2": 2, "m3": 2}
Seen = list[tuple[str, dict[str, Any]]]


def answer(message_id: str, tokens: int) -> Seen:
    """What `count` says, with positions as a reader gets them."""
    found: Seen = []
    for chunk_id in range(tokens + 1):
        is_final = chunk_id == tokens
        chunk = {
            "session_id": "s",
            "message_id": message_id,
            "chunk_id": chunk_id,
            "chunk": "" if is_final else f"{chunk_id + 1} ",
            "chunk_type": "content",
            "is_final": is_final,
            "metadata": {"finish_reason": "stop"} if is_final else {},
        }
        found.append((f"{message_id}.{chunk_id}", chunk))
    return found


def perfect() -> Seen:
    return answer("m1", 3) + answer("m2", 2)


def kinds(seen: Seen, **fates: Fate) -> set[Kind]:
    """What is found; m1 and m2 are accepted unless `fates` says otherwise."""
    watch = Watch("s", TOKENS, "reader")
    for position, chunk in seen:
        watch.on_chunk(position, chunk)
    known = {"m1": Fate.ACCEPTED, "m2": Fate.ACCEPTED} | fates
    return {
        each.kind for each in watch.verdict(Posted(name, TOKENS[name], fate) for name, fate in known.items())
    }


def changed(at: int, **values: Any) -> Seen:
    seen = perfect()
    seen[at] = (seen[at][0], seen[at][1] | values)
    return seen


def without(*places: int) -> Seen:
    return [each for at, each in enumerate(perfect()) if at not in places]


def moved(source: int, target: int) -> Seen:
    seen = perfect()
    seen.insert(target, seen.pop(source))
    return seen


def test_a_session_as_promised_has_no_findings() -> None:
    assert kinds(perfect()) == set()
    assert kinds(perfect(), m3=Fate.REFUSED) == set()
    assert kinds(perfect(), m3=Fate.UNKNOWN) == set()
    assert kinds(perfect() + answer("m3", 2), m3=Fate.UNKNOWN) == set()


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (lambda: without(1), Kind.LOST),
        (lambda: without(0), Kind.LOST),
        (lambda: without(3), Kind.LOST),
        (lambda: without(5, 6), Kind.LOST),
        (lambda: without(4, 5, 6), Kind.LOST),
        (lambda: [("", chunk) for _, chunk in perfect()], Kind.LOST),
        (lambda: perfect()[:2] + perfect()[1:], Kind.REPEATED),
        (lambda: perfect()[:4] + perfect()[3:], Kind.WRONG_END),
        (lambda: perfect() + perfect()[:1], Kind.REPEATED),
        (lambda: [("same", chunk) for _, chunk in perfect()], Kind.REPEATED),
        (lambda: moved(1, 2), Kind.OUT_OF_ORDER),
        (lambda: moved(4, 3), Kind.OUT_OF_ORDER),
        (lambda: answer("m2", 2) + answer("m1", 3), Kind.OUT_OF_ORDER),
        (lambda: changed(1, session_id="other"), Kind.FOREIGN),
        (lambda: changed(1, message_id="nobody's"), Kind.FOREIGN),
        (lambda: changed(1, chunk="3 "), Kind.WRONG_TEXT),
        (lambda: changed(1, chunk_type="error"), Kind.WRONG_TEXT),
        (lambda: changed(1, chunk_id="1"), Kind.WRONG_TEXT),
        (lambda: changed(3, is_final=False), Kind.WRONG_END),
        (lambda: changed(1, is_final=True), Kind.WRONG_END),
        (lambda: changed(3, metadata={"finish_reason": "error"}), Kind.WRONG_END),
    ],
)
def test_whatever_happens_to_a_stream_is_found(seen: Callable[[], Seen], kind: Kind) -> None:
    assert kind in kinds(seen())


def test_a_reset_is_found() -> None:
    watch = Watch("s", TOKENS, "reader")
    watch.on_reset({"message_id": "m1", "reason": "gap"})
    assert [each.kind for each in watch.findings] == [Kind.TAKEN_BACK]


def test_a_refused_message_must_be_absent() -> None:
    assert kinds(perfect() + answer("m3", 2), m3=Fate.REFUSED) == {Kind.NOT_ACCEPTED}


def test_an_unknown_message_is_whole_or_absent() -> None:
    assert kinds(perfect() + answer("m3", 2)[:2], m3=Fate.UNKNOWN) == {Kind.LOST}


@given(st.data())
def test_any_one_chunk_that_is_left_out_doubled_or_moved_is_found(data: st.DataObject) -> None:
    seen = perfect()
    at = data.draw(st.integers(0, len(seen) - 1))
    match data.draw(st.sampled_from(["left out", "doubled", "moved"])):
        case "left out":
            del seen[at]
        case "doubled":
            seen.insert(data.draw(st.integers(at + 1, len(seen))), seen[at])
        case _:
            each = seen.pop(at)
            seen.insert(data.draw(st.integers(0, len(seen)).filter(lambda to: to != at)), each)
    assert kinds(seen)


def test_a_broken_run_does_not_fill_the_memory() -> None:
    watch = Watch("s", TOKENS, "reader")
    for _ in range(1000):
        watch.on_chunk("p", {"session_id": "other"})
    assert len(watch.findings) == MAX_FINDINGS
