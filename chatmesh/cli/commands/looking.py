"""What asks about a mesh and changes nothing."""

from __future__ import annotations

from chatmesh.cli.commands.shared import Commands, add_settings, lazy, seconds


def add_health(commands: Commands) -> None:
    health = commands.add_parser("health", help="ask a pod (or a worker) how it is, over NATS")
    health.add_argument("id", metavar="POD_ID")
    health.add_argument("--worker", action="store_true", help="the id is a worker's")
    health.add_argument("--json", action="store_true", help="the answer as JSON")
    health.add_argument(
        "--timeout", type=seconds, default=2.0, metavar="SECONDS", help="how long to wait (2)"
    )
    add_settings(health)
    health.set_defaults(command=lazy("chatmesh.cli.health", "health"))


def add_verify(commands: Commands) -> None:
    verify = commands.add_parser(
        "verify", help="check what is stored of a session; exit code 1 if anything is wrong with it"
    )
    verify.add_argument("session", metavar="SESSION", help="the session's id")
    verify.add_argument("--json", action="store_true", help="the findings as JSON")
    add_settings(verify)
    verify.set_defaults(command=lazy("chatmesh.cli.verify", "verify"))


def add_usage(commands: Commands) -> None:
    usage = commands.add_parser("usage", help="tokens and costs of what was answered, from the transcript")
    usage.add_argument(
        "--by",
        choices=["model", "user", "session", "message", "attempt", "day", "end"],
        default="model",
        help="what to add up (model); end: how calls ended, such as stop, cancelled or lost",
    )
    usage.add_argument(
        "--since", metavar="WHEN", help="30m, 24h, 7d, or an ISO date or time in UTC (all that is kept)"
    )
    usage.add_argument("--session", metavar="SESSION", help="of this session only")
    usage.add_argument("--json", action="store_true", help="the numbers as JSON")
    add_settings(usage)
    usage.set_defaults(command=lazy("chatmesh.cli.usage", "usage"))


def add_doctor(commands: Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check the broker, say what to mend and which promises hold on it; exit code 1 if any failed",
    )
    doctor.add_argument(
        "--role", choices=["pod", "worker", "all"], help="whose permissions to try (default: `roles`)"
    )
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    add_settings(doctor)
    doctor.set_defaults(command=lazy("chatmesh.cli.doctor", "doctor"))
