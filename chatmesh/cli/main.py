"""`chatmesh`: the parser, and the way from an error to an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from chatmesh.errors import ChatmeshError, Exit

_EPILOG = """examples:
  chatmesh dev                                       pod, worker and broker in one process
  chatmesh run --role pod --id pod-1 --set nats.servers=nats://127.0.0.1:4222
  chatmesh run --role worker -c config/worker.yaml
  chatmesh check -c config/pod.yaml
  chatmesh health pod-1 --json
  chatmesh streams ensure --apply -c config/worker.yaml

exit codes: 0 done · 1 failed · 2 usage or configuration · 3 broker · 4 not authorised · 5 port in use · 70 gave up
"""

_STREAMS_ENSURE = (
    "Compares the broker's streams and their consumer with the declared ones, field by field. Changes nothing without "
    "--apply, and deletes nothing in any case. Give it the configuration that the workers have."
)

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code and never raises for what a user can cause."""
    namespace = _parser().parse_args(arguments)
    try:
        _refuse_others()
        command: Command = namespace.command
        return command(namespace)
    except ChatmeshError as error:
        print(f"chatmesh: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return Exit.FAILED
    except BrokenPipeError:
        return Exit.FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chatmesh",
        description="AI chat over NATS JetStream: accepted once, answered once, every token once and in order.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_dev(commands)
    _add_run(commands)
    _add_check(commands)
    _add_config(commands)
    _add_health(commands)
    _add_streams(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=_version)
    return parser


_Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="YAML file (or $CHATMESH_CONFIG)")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="one setting, over file and environment; may be given often",
    )


def _add_dev(commands: _Commands[argparse.ArgumentParser]) -> None:
    dev = commands.add_parser(
        "dev", help="pod, worker and an embedded nats-server in one process; no key needed"
    )
    dev.add_argument("--port", type=int, help="HTTP port (default 8080; 0 takes a free one)")
    place = dev.add_mutually_exclusive_group()
    place.add_argument(
        "--data", type=Path, metavar="DIR", help="where the embedded server keeps its data (.chatmesh)"
    )
    place.add_argument("--ephemeral", action="store_true", help="keep nothing: data in a temporary folder")
    dev.add_argument("--model", metavar="NAME", help="the model of messages that name none (default: demo)")
    dev.add_argument(
        "--workers", type=int, default=1, metavar="N", help="so many workers in this process (1)"
    )
    _add_settings(dev)
    dev.set_defaults(command=_dev)


def _add_run(commands: _Commands[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run a pod, a worker, or both")
    run.add_argument("--role", choices=["pod", "worker", "all"], help="over `roles` in the configuration")
    run.add_argument("--id", metavar="NAME", help="pod and worker id (default: host name and a random part)")
    _add_settings(run)
    run.set_defaults(command=_run)


def _add_check(commands: _Commands[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check", help="look at the configuration only: every problem, with its line")
    _add_settings(check)
    check.set_defaults(command=_check)


def _add_config(commands: _Commands[argparse.ArgumentParser]) -> None:
    config = commands.add_parser("config", help="show the effective configuration, or the reference")
    config.add_argument("what", choices=["show", "reference", "schema"])
    _add_settings(config)
    config.set_defaults(command=_config)


def _add_health(commands: _Commands[argparse.ArgumentParser]) -> None:
    health = commands.add_parser("health", help="ask a pod (or a worker) how it is, over NATS")
    health.add_argument("id", metavar="POD_ID")
    health.add_argument("--worker", action="store_true", help="the id is a worker's")
    health.add_argument("--json", action="store_true", help="the answer as JSON")
    health.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="how long to wait (2)")
    _add_settings(health)
    health.set_defaults(command=_health)


def _add_streams(commands: _Commands[argparse.ArgumentParser]) -> None:
    streams = commands.add_parser("streams", help="the broker's streams beside the declared ones")
    actions = streams.add_subparsers(title="actions", required=True, metavar="ACTION")
    ensure = actions.add_parser(
        "ensure", help="show what differs; exit code 1 if anything does", description=_STREAMS_ENSURE
    )
    ensure.add_argument(
        "--apply", action="store_true", help="create what is missing, change what can be changed"
    )
    ensure.add_argument("--json", action="store_true", help="the differences as JSON")
    _add_settings(ensure)
    ensure.set_defaults(command=_streams_ensure)


def _refuse_others() -> None:
    from chatmesh.cli.installed import refuse_others  # noqa: PLC0415

    refuse_others()


def _dev(namespace: argparse.Namespace) -> int:
    from chatmesh.cli.dev import dev  # noqa: PLC0415

    return dev(namespace)


def _run(namespace: argparse.Namespace) -> int:
    from chatmesh.cli.run import run  # noqa: PLC0415

    return run(namespace)


def _check(namespace: argparse.Namespace) -> int:
    from chatmesh.cli.settings import check  # noqa: PLC0415

    return check(namespace)


def _config(namespace: argparse.Namespace) -> int:
    from chatmesh.cli.settings import show  # noqa: PLC0415

    return show(namespace)


def _health(namespace: argparse.Namespace) -> int:
    from chatmesh.cli.health import health  # noqa: PLC0415

    return health(namespace)


def _streams_ensure(namespace: argparse.Namespace) -> int:
    from chatmesh.cli.streams import ensure  # noqa: PLC0415

    return ensure(namespace)


def _version(_namespace: argparse.Namespace) -> int:
    from chatmesh import __version__  # noqa: PLC0415

    print(f"chatmesh {__version__}")
    return Exit.OK
