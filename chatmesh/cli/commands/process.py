"""What runs pods and workers, and looks at their configuration."""

from __future__ import annotations

from pathlib import Path

from chatmesh.cli.commands.shared import Commands, add_settings, at_least_one, lazy


def add_dev(commands: Commands) -> None:
    dev = commands.add_parser(
        "dev", help="pod, worker and an embedded nats-server in one process; no key needed"
    )
    dev.add_argument("--port", type=int, help="HTTP port (default 8080; 0 takes a free one)")
    place = dev.add_mutually_exclusive_group()
    place.add_argument(
        "--data", type=Path, metavar="DIR", help="where the embedded server keeps its data (.chatmesh)"
    )
    place.add_argument("--ephemeral", action="store_true", help="keep nothing: data in a temporary folder")
    dev.add_argument(
        "--model",
        metavar="NAME",
        help="the model of messages that name none (default: demo): one of `models`, smollm2 (a small real one, offline), "
        "openai:NAME, anthropic:NAME, or http://HOST/v1#NAME",
    )
    dev.add_argument(
        "--workers", type=at_least_one, default=1, metavar="N", help="so many workers in this process (1)"
    )
    add_settings(dev)
    dev.set_defaults(command=lazy("chatmesh.cli.dev", "dev"))


def add_run(commands: Commands) -> None:
    run = commands.add_parser("run", help="run a pod, a worker, or both")
    run.add_argument("--role", choices=["pod", "worker", "all"], help="over `roles` in the configuration")
    run.add_argument("--id", metavar="NAME", help="pod and worker id (default: host name and a random part)")
    run.add_argument(
        "--processes",
        type=at_least_one,
        default=1,
        metavar="N",
        help="so many processes on one port, one for each core; each has an id of its own (NAME-1 to NAME-N), and a pod a "
        "port of its own behind http.port for its metrics",
    )
    add_settings(run)
    run.set_defaults(command=lazy("chatmesh.cli.run", "run"))


def add_check(commands: Commands) -> None:
    check = commands.add_parser("check", help="look at the configuration only: every problem, with its line")
    add_settings(check)
    check.set_defaults(command=lazy("chatmesh.cli.settings", "check"))


def add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="show the effective configuration, or the reference")
    config.add_argument("what", choices=["show", "reference", "schema"])
    add_settings(config)
    config.set_defaults(command=lazy("chatmesh.cli.settings", "show"))
