"""Why there is no good answer, as an error with its exit code: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatmesh.client import Answer, Fate, Sent
from chatmesh.errors import Exit, RefusedError, UnansweredError

_UNABLE = (400, 413, 415, 422)
"""What was asked can't be done as it is: to ask again does not help."""


def refused(status: int, answer: dict[str, Any], urls: Sequence[str]) -> UnansweredError:
    """A pod's own no, or nobody's answer (status 0)."""
    if not status:
        return unreachable(urls)
    detail = str(answer.get("detail") or f"the pod answers with status {status}").removesuffix(".")
    code = str(answer.get("code") or f"http_{status}")
    if status in (401, 403):
        mend = "Give a token that is good there: --token-file FILE, or CHATMESH_TOKEN."
        return UnansweredError(detail, code=code, exit_code=Exit.NOT_AUTHORISED, mend=mend)
    exit_code = Exit.USAGE if status in _UNABLE else Exit.FAILED
    return UnansweredError(detail, code=code, exit_code=exit_code)


def not_sent(sent: Sent, session_id: str, urls: Sequence[str]) -> UnansweredError:
    """Of a message that was not accepted, or may have been."""
    error = refused(sent.status, sent.answer, urls)
    if sent.fate is Fate.UNKNOWN:
        error.mend = maybe(session_id, sent.message_id)
    return error


def no_stream(error: RefusedError, urls: Sequence[str]) -> UnansweredError:
    """Of a message whose events nobody may read."""
    return refused(error.status, {"detail": error.what}, urls)


def unreachable(urls: Sequence[str]) -> UnansweredError:
    return UnansweredError(
        "nobody is reachable",
        code="unreachable",
        exit_code=Exit.BROKER,
        where=" or ".join(urls),
        mend="Start a mesh with `chatmesh dev`, or name a pod with --url or CHATMESH_URL.",
    )


def come_back(answer: Answer) -> str:
    """How somebody gets the rest of an answer that goes on without them."""
    return (
        "The answer goes on there; the same command with "
        f"--session {answer.session_id} --message-id {answer.message_id} reads it from its beginning."
    )


def maybe(session_id: str, message_id: str) -> str:
    """What to do about a message that was perhaps accepted."""
    return f"It may be accepted all the same; to repeat it with --session {session_id} --message-id {message_id} is safe."


def failure(answer: Answer) -> UnansweredError | None:
    """What is wrong with an answer that has come to its end; None where it is a good one."""
    if answer.is_erased:
        return UnansweredError("the session was erased", code="session_erased", where=answer.session_id)
    if answer.finish_reason == "error":
        error = answer.error or {}
        text = str(error.get("message") or "the answer failed").removesuffix(".")
        return UnansweredError(text, code=str(error.get("code") or "error"))
    if not answer.is_whole:
        return UnansweredError(
            f"the text is not what was written: its digest is {answer.digest}, the final chunk "
            f"says {answer.metadata.get('digest')}",
            code="digest_mismatch",
            mend=f"`chatmesh verify {answer.session_id}` says whether the stored text is whole.",
        )
    if answer.finish_reason in ("cancelled", "content_filter"):
        reasons = {
            "cancelled": "the answer was stopped",
            "content_filter": "the model's filter ended the answer",
        }
        return UnansweredError(reasons[answer.finish_reason], code=answer.finish_reason)
    return None
