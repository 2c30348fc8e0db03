"""What each role does at the broker, as permissions: data, and which of them a refusal means. Pure.

`{id}` stands for the id of the process. `chatmesh natsconf` writes them into a server's configuration, and `docs/operations.md` has them as a table.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.broker import CONSUMER, REQUESTS, Denial
from chatmesh.broker.streams import DEAD_LETTERS, SESSIONS
from chatmesh.errors import NotAuthorisedError

API = "$JS.API"


@dataclass(frozen=True, slots=True)
class Needs:
    """Subjects of an allow-list."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    def __add__(self, other: Needs) -> Needs:
        return Needs(self.publish + other.publish, self.subscribe + other.subscribe)


PEER_ANSWERS = "_INBOX.*.health.*"
"""Answers to health requests. Not `allow_responses`: whoever may publish to a subject that he hears himself would send
himself a message with any reply subject, and with it the right to publish there."""

ALL = Needs(
    publish=(
        "$JS.API.STREAM.INFO.*",
        f"$JS.API.CONSUMER.INFO.{REQUESTS}.{CONSUMER}",
        "$JS.API.DIRECT.GET.*",
        f"$JS.API.STREAM.MSG.GET.{SESSIONS}",
    ),
    subscribe=("_INBOX.{id}.>",),
)
POD = ALL + Needs(
    publish=(
        "chat.workflow.execute.*",
        "chat.session.*.stop.*",
        "chat.session.*.erased",
        "chat.part.*.session.*.stop.*",
        "chat.part.*.session.*.erased",
        "chat.home.*",
        "chat.card.*",
        "chat.owned.*.*",
        "chat.registry.*.{id}",
        "chat.registry.~retry.*",
        "chat.registry.~ticket.*",
        "chat.pod.{id}.heartbeat",
        "chat.pod.{id}.health",
        PEER_ANSWERS,
    ),
    subscribe=(
        "chat.pod.{id}.response",
        "chat.pod.{id}.health",
        "chat.session.*.broadcast",
        "chat.worker.*.heartbeat",
    ),
)
WORKER = ALL + Needs(
    publish=(
        f"$JS.API.CONSUMER.MSG.NEXT.{REQUESTS}.{CONSUMER}",
        f"$JS.ACK.{REQUESTS}.{CONSUMER}.>",
        "chat.session.*.claim",
        "chat.session.*.transcript.*",
        "chat.session.*.erased",
        "chat.part.*.session.*.claim",
        "chat.part.*.session.*.transcript.*",
        "chat.part.*.session.*.erased",
        "chat.home.*",
        "chat.session.*.broadcast",
        "chat.pod.*.response",
        "chat.dead.*",
        "chat.worker.*.health",
        "chat.worker.{id}.heartbeat",
        "chat.worker.{id}.leases",
        PEER_ANSWERS,
    ),
    subscribe=(
        "chat.worker.{id}.health",
        "chat.session.*.transcript.*",
        "chat.session.*.stop.*",
        "chat.part.*.session.*.transcript.*",
        "chat.part.*.session.*.stop.*",
        "chat.pod.*.heartbeat",
        "chat.worker.*.heartbeat",
        "chat.registry.*.*",
    ),
)
OPERATOR = ALL + Needs(
    publish=(
        "$JS.API.INFO",
        f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS}",
        "chat.workflow.execute.*",
        "chat.pod.*.health",
        "chat.worker.*.health",
    ),
    subscribe=(),
)
LOOKING = Needs(
    publish=("$JS.API.INFO", "$JS.API.STREAM.INFO.*", f"$JS.API.CONSUMER.INFO.{REQUESTS}.{CONSUMER}"),
    subscribe=(),
)
OF_ROLE = {"pod": POD, "worker": WORKER}

UNTRIED = frozenset(
    {
        # It would take a request, or end one.
        f"$JS.API.CONSUMER.MSG.NEXT.{REQUESTS}.{CONSUMER}",
        f"$JS.ACK.{REQUESTS}.{CONSUMER}.>",
        # Pods and workers listen there.
        "chat.session.*.stop.*",
        "chat.part.*.session.*.stop.*",
        "chat.session.*.broadcast",
        "chat.registry.*.{id}",
        "chat.pod.{id}.heartbeat",
        "chat.worker.{id}.heartbeat",
        "chat.pod.{id}.health",
    }
)
"""What can't be published to without somebody noticing, so that nobody tries it only to see."""

DEPLOYER = LOOKING + Needs(publish=(), subscribe=("_INBOX.{id}.>",))
"""Who makes and changes the streams, with STREAM_MAKER; nobody may delete or purge one."""

STREAM_MAKER = Needs(
    publish=("$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.CONSUMER.CREATE.>"), subscribe=()
)


def refusal(denial: Denial, id: str, jetstream_api: str = API) -> NotAuthorisedError:
    """What a denial means for whoever has the id."""
    return NotAuthorisedError(
        f"this user may not {_verb(denial)} {permission(denial, id, jetstream_api)}",
        where="the broker's permissions",
        mend="Allow it there; docs/operations.md has what each role and command needs.",
    )


def permission(denial: Denial, id: str, jetstream_api: str = API) -> str:
    """The entry of an allow-list that would have let it pass; the bare subject where no command of ours needs it."""
    known = POD + WORKER + OPERATOR + STREAM_MAKER
    entries = known.publish if denial.verb == "publish" else known.subscribe
    return next(
        (entry for each in entries if matches(entry := filled(each, id, jetstream_api), denial.subject)),
        denial.subject,
    )


def filled(entry: str, id: str, jetstream_api: str = API) -> str:
    """An entry for the user of that process, as it calls JetStream's API."""
    own = entry.replace("{id}", id)
    return jetstream_api + own.removeprefix(API) if own.startswith(f"{API}.") else own


def matches(pattern: str, subject: str) -> bool:
    """Whether `subject`, which may be a pattern itself, is one of `pattern`'s; letters of both sizes are the same."""
    wanted, given = pattern.lower().split("."), subject.lower().split(".")
    for place, part in enumerate(wanted):
        if part == ">":
            return len(given) > place
        if place >= len(given) or part not in ("*", given[place]):
            return False
    return len(wanted) == len(given)


def _verb(denial: Denial) -> str:
    return "publish to" if denial.verb == "publish" else "subscribe to"
