"""Every subject of the mesh, built from validated tokens. `docs/protocol.md` has the table.

The first block is the public protocol (other people's pods and workers use it); the second is chatmesh's own.
"""

from __future__ import annotations

from chatmesh.protocol.tokens import Token

EXECUTE_ALL = "chat.workflow.execute.*"
RESPONSE_ALL = "chat.pod.*.response"
BROADCAST_ALL = "chat.session.*.broadcast"
POD_HEARTBEATS = "chat.pod.*.heartbeat"
WORKER_HEARTBEATS = "chat.worker.*.heartbeat"


def execute(session_id: Token) -> str:
    """Requests of one session, in the order of acceptance."""
    return f"chat.workflow.execute.{session_id}"


def response(pod_id: Token) -> str:
    """Chunks for the readers of one pod."""
    return f"chat.pod.{pod_id}.response"


def broadcast(session_id: Token) -> str:
    """Chunks of one session for whoever has readers."""
    return f"chat.session.{session_id}.broadcast"


def pod_health(pod_id: Token) -> str:
    """Request-reply: is this pod well?"""
    return f"chat.pod.{pod_id}.health"


def pod_heartbeat(pod_id: Token) -> str:
    """The last heartbeat of one pod."""
    return f"chat.pod.{pod_id}.heartbeat"


def worker_health(worker_id: Token) -> str:
    """Request-reply: is this worker well, and does it hold a message?"""
    return f"chat.worker.{worker_id}.health"


def worker_heartbeat(worker_id: Token) -> str:
    """The last heartbeat of one worker."""
    return f"chat.worker.{worker_id}.heartbeat"


def peer_inbox(id: str) -> str:
    """Where another process's answers to our questions come, one token behind it. `id` is ours."""
    return f"_INBOX.{id}.health"


# --- chatmesh's own ------------------------------------------------------------------------------------------------

CLAIM_ALL = "chat.session.*.claim"
STOP_ALL = "chat.session.*.stop.*"
ERASED_ALL = "chat.session.*.erased"
TRANSCRIPT_ALL = "chat.session.*.transcript.*"
REGISTRY_ALL = "chat.registry.*.*"
HOME_ALL = "chat.home.*"
CARD_ALL = "chat.card.*"
OWNED_ALL = "chat.owned.*.*"
DEAD_LETTERS_ALL = "chat.dead.*"
WORKER_LEASES = "chat.worker.*.leases"


def worker_leases(worker_id: Token) -> str:
    """What one worker holds of the queue, for whoever finds it dead."""
    return f"chat.worker.{worker_id}.leases"


def claim(session_id: Token) -> str:
    """Who may write this session's transcript; the stream sequence of the last one is the fence."""
    return f"chat.session.{session_id}.claim"


def stop(session_id: Token, message_id: Token) -> str:
    """That somebody wants this message stopped, queued or running. Pods write it, and nothing else of a session."""
    return f"chat.session.{session_id}.stop.{message_id}"


def erased(session_id: Token) -> str:
    """That everything before was erased; what was claimed before it is no part of the session any more."""
    return f"chat.session.{session_id}.erased"


def transcript(session_id: Token, message_id: Token) -> str:
    """The stored answer of one message."""
    return f"chat.session.{session_id}.transcript.{message_id}"


def of_transcript(subject: str) -> tuple[Token, Token]:
    """Session and message of a subject that `transcript` made."""
    _, _, session_id, _, message_id = subject.split(".")
    return Token(session_id), Token(message_id)


def transcript_of(session_id: Token) -> str:
    """Filter: the stored answers of one session."""
    return f"chat.session.{session_id}.transcript.*"


def session_log(session_id: Token) -> str:
    """Filter: answers, claims and stops of one session."""
    return f"chat.session.{session_id}.>"


def is_record(subject: str) -> bool:
    """Whether a subject of `session_log` holds answers, and no claim, stop or erasure."""
    return subject.split(".", 4)[3] == "transcript"


def is_claim(subject: str) -> bool:
    """Whether a subject of `session_log` holds claims."""
    return subject.split(".", 4)[3] == "claim"


PART = "chat.part."


def of_part(part: int, subject: str) -> str:
    """How what goes to `subject` of a session is published where the transcript lies in parts. The stream takes the
    prefix off: it stores it under `subject`."""
    return f"{PART}{part}.{subject.removeprefix('chat.')}"


def of_parts(pattern: str) -> str:
    """Filter: the same of all parts."""
    return f"{PART}*.{pattern.removeprefix('chat.')}"


def stored(subject: str) -> str:
    """The subject under which something is stored that was published by `of_part` or without it."""
    return f"chat.{subject.split('.', 3)[3]}" if subject.startswith(PART) else subject


def home(session_id: Token) -> str:
    """In which part of the transcript a session lies."""
    return f"chat.home.{session_id}"


def registry(session_id: Token, pod_id: Token) -> str:
    """That a pod holds readers of a session."""
    return f"chat.registry.{session_id}.{pod_id}"


def registry_of(session_id: Token) -> str:
    """Filter: every pod that holds readers of a session."""
    return f"chat.registry.{session_id}.*"


def retry(key: Token) -> str:
    """Which message a request became. Part of the registry, and of no session: a `~` stands in no identifier."""
    return f"chat.registry.~retry.{key}"


def spent(ticket_id: Token) -> str:
    """That a ticket was used. In the registry, as `retry`."""
    return f"chat.registry.~ticket.{ticket_id}"


def is_no_session(subject: str) -> bool:
    """Whether a subject of `REGISTRY_ALL` tells of a request or a ticket, and of no session's readers."""
    return third_token(subject).startswith("~")


def card(session_id: Token) -> str:
    """Whose a session is, and its wrapped data key."""
    return f"chat.card.{session_id}"


def owned(owner: Token, session_id: Token) -> str:
    """That a session may be that owner's: the list of one's sessions. Its card says whether it is."""
    return f"chat.owned.{owner}.{session_id}"


def owned_by(owner: Token) -> str:
    """Filter: every session that may be that owner's."""
    return f"chat.owned.{owner}.*"


def dead_letter(session_id: Token) -> str:
    """Requests that could not be answered, with the reason in the headers."""
    return f"chat.dead.{session_id}"


_PATTERNS: dict[str, dict[str, str]] = {}
"""By the second token and the fourth."""
for _pattern in (
    RESPONSE_ALL,
    "chat.pod.*.health",
    POD_HEARTBEATS,
    "chat.worker.*.health",
    WORKER_HEARTBEATS,
    BROADCAST_ALL,
    CLAIM_ALL,
    STOP_ALL,
    ERASED_ALL,
    TRANSCRIPT_ALL,
):
    _PATTERNS.setdefault(_pattern.split(".")[1], {})[_pattern.split(".")[3]] = _pattern

_BY_FIRST = {
    "workflow": EXECUTE_ALL,
    "registry": REGISTRY_ALL,
    "card": CARD_ALL,
    "owned": OWNED_ALL,
    "home": HOME_ALL,
    "dead": DEAD_LETTERS_ALL,
}


def pattern(subject: str) -> str:
    """The subject without its ids, for a metric's label: one of a few, whatever anybody sends."""
    if subject[:5] != "chat.":
        first = subject.partition(".")[0]
        return f"{first}.>" if first in {"$JS", "_INBOX"} else "other"
    if subject.startswith(PART) and subject.count(".") >= 3:
        return pattern(stored(subject))
    tokens = subject.split(".", 4)
    try:
        return _BY_FIRST.get(tokens[1]) or _PATTERNS[tokens[1]][tokens[3]]
    except (KeyError, IndexError):
        return "other"


def third_token(subject: str) -> str:
    """The identifier in `chat.<a>.<id>…`: the pod of a heartbeat, the session of a claim."""
    return subject.split(".", 3)[2]
