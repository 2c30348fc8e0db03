"""The parser: every command, its arguments and its help. What runs a command is imported when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

_EPILOG = """examples:
  chatmesh dev                                       pod, worker and broker in one process
  chatmesh run --role pod --id pod-1 --set nats.servers=nats://127.0.0.1:4222
  chatmesh run --role worker -c config/worker.yaml
  chatmesh check -c config/pod.yaml
  chatmesh chat                                      talk to a mesh, with markdown
  git diff | chatmesh send "review this"             one message, its answer on stdout
  chatmesh health pod-1 --json
  chatmesh streams ensure --apply -c config/worker.yaml
  chatmesh verify my-session
  chatmesh usage --by user --since 7d
  chatmesh dlq retry 7
  chatmesh doctor -c config/pod.yaml
  chatmesh natsconf --pods 2 --workers 2 --out nats

exit codes: 0 done · 1 failed · 2 usage or configuration · 3 broker or pod not reachable · 4 not authorised · 5 port in use · 70 gave up
  130 stopped by Ctrl-C
"""

_STREAMS_ENSURE = (
    "Compares the broker's streams and their consumer with the declared ones, field by field. Changes nothing without "
    "--apply, and deletes nothing in any case. Give it the configuration that the workers have."
)

_SEND = (
    "Sends one message to a mesh and prints its answer as it comes. What comes through a pipe stands below TEXT. Ctrl-C "
    "stops the answer at the mesh. Exit codes: 0 answered, 1 failed or stopped, 2 can't be sent as it is, 3 nobody "
    "reachable, 4 not authorised, 130 Ctrl-C."
)

_CHAOS = (
    "Starts servers, pods and workers of its own in a temporary folder, has people talk to them, kills, freezes and "
    "restarts them at random, and checks that nothing was lost, repeated or reordered. Exit code 1 if anything was."
)

_NATSCONF = (
    "Makes an NKey for each process: its public half stands in the server's file, its seed in a file that nobody else "
    "can read. The server lets each process do what it needs and nothing else."
)

_FAULTS = "worker-kill,worker-stop,worker-term,pod-kill,pod-stop,pod-term,broker-kill,broker-stop,reader-cut"

Command = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """Every command with its arguments. Sets `command`: what runs it, given the namespace."""
    top = argparse.ArgumentParser(
        prog="chatmesh",
        description="AI chat over NATS JetStream: accepted once, answered once, every token once and in order.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_dev(commands)
    _add_run(commands)
    _add_chat(commands)
    _add_send(commands)
    _add_check(commands)
    _add_config(commands)
    _add_health(commands)
    _add_streams(commands)
    _add_verify(commands)
    _add_usage(commands)
    _add_dlq(commands)
    _add_doctor(commands)
    _add_keys(commands)
    _add_keyring(commands)
    _add_token(commands)
    _add_chaos(commands)
    _add_natsconf(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=_lazy("chatmesh.cli.settings", "version"))
    return top


def _lazy(module: str, name: str) -> Command:
    """The function `name` of `module`, imported when it is called, so that `--help` costs nothing."""

    def command(namespace: argparse.Namespace) -> int:
        run: Command = getattr(import_module(module), name)
        return run(namespace)

    return command


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
    dev.add_argument(
        "--model",
        metavar="NAME",
        help="the model of messages that name none (default: demo): one of `models`, smollm2 (a small real one, offline), "
        "openai:NAME, anthropic:NAME, or http://HOST/v1#NAME",
    )
    dev.add_argument(
        "--workers", type=int, default=1, metavar="N", help="so many workers in this process (1)"
    )
    _add_settings(dev)
    dev.set_defaults(command=_lazy("chatmesh.cli.dev", "dev"))


def _add_run(commands: _Commands[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run a pod, a worker, or both")
    run.add_argument("--role", choices=["pod", "worker", "all"], help="over `roles` in the configuration")
    run.add_argument("--id", metavar="NAME", help="pod and worker id (default: host name and a random part)")
    _add_settings(run)
    run.set_defaults(command=_lazy("chatmesh.cli.run", "run"))


def _add_chat(commands: _Commands[argparse.ArgumentParser]) -> None:
    chat = commands.add_parser("chat", help="talk to a mesh: type, read, Ctrl-C stops an answer")
    _add_talk(chat)
    chat.add_argument("--plain", action="store_true", help="no markdown, no colour, no line editor")
    chat.add_argument("--thoughts", action="store_true", help="show a model's reasoning too")
    chat.add_argument(
        "--history-file", type=Path, metavar="FILE", help="keep typed lines there (default: nowhere)"
    )
    chat.set_defaults(command=_lazy("chatmesh.cli.talk.chat", "chat"))


def _add_send(commands: _Commands[argparse.ArgumentParser]) -> None:
    send = commands.add_parser("send", help="send one message and print its answer", description=_SEND)
    send.add_argument("message", nargs="?", metavar="TEXT", help="the message; `-` or nothing reads stdin")
    _add_talk(send)
    send.add_argument(
        "--message-id", metavar="ID", help="names the message, so that repeating it is safe (a new one)"
    )
    send.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="give up so long after the start (default: never)"
    )
    send.add_argument("--json", action="store_true", help="one JSON object at the end instead of the text")
    send.set_defaults(command=_lazy("chatmesh.cli.talk.send", "send"))


def _add_talk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        action="append",
        metavar="URL",
        help="a pod; may be given often: it goes on at another one (or $CHATMESH_URL; http://127.0.0.1:8080)",
    )
    parser.add_argument("--session", metavar="ID", help="the session (default: a new one)")
    parser.add_argument("--model", metavar="NAME", help="the model to ask (default: the mesh's)")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="send the token in it as bearer (or $CHATMESH_TOKEN)"
    )


def _add_check(commands: _Commands[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check", help="look at the configuration only: every problem, with its line")
    _add_settings(check)
    check.set_defaults(command=_lazy("chatmesh.cli.settings", "check"))


def _add_config(commands: _Commands[argparse.ArgumentParser]) -> None:
    config = commands.add_parser("config", help="show the effective configuration, or the reference")
    config.add_argument("what", choices=["show", "reference", "schema"])
    _add_settings(config)
    config.set_defaults(command=_lazy("chatmesh.cli.settings", "show"))


def _add_health(commands: _Commands[argparse.ArgumentParser]) -> None:
    health = commands.add_parser("health", help="ask a pod (or a worker) how it is, over NATS")
    health.add_argument("id", metavar="POD_ID")
    health.add_argument("--worker", action="store_true", help="the id is a worker's")
    health.add_argument("--json", action="store_true", help="the answer as JSON")
    health.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="how long to wait (2)")
    _add_settings(health)
    health.set_defaults(command=_lazy("chatmesh.cli.health", "health"))


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
    ensure.set_defaults(command=_lazy("chatmesh.cli.streams", "ensure"))


def _add_verify(commands: _Commands[argparse.ArgumentParser]) -> None:
    verify = commands.add_parser(
        "verify", help="check what is stored of a session; exit code 1 if anything is wrong with it"
    )
    verify.add_argument("session", metavar="SESSION", help="the session's id")
    verify.add_argument("--json", action="store_true", help="the findings as JSON")
    _add_settings(verify)
    verify.set_defaults(command=_lazy("chatmesh.cli.verify", "verify"))


def _add_usage(commands: _Commands[argparse.ArgumentParser]) -> None:
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
    _add_settings(usage)
    usage.set_defaults(command=_lazy("chatmesh.cli.usage", "usage"))


def _add_dlq(commands: _Commands[argparse.ArgumentParser]) -> None:
    dlq = commands.add_parser("dlq", help="dead letters: requests that could not be answered")
    actions = dlq.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the dead letters, oldest first")
    listing.add_argument("--session", metavar="SESSION", help="of this session only")
    listing.add_argument("--after", type=int, default=0, metavar="SEQ", help="those behind this one")
    listing.add_argument("--limit", type=_at_least_one, default=50, metavar="N", help="so many at most (50)")
    _finish_dlq(listing, "list_letters")
    for name, text in (
        ("show", "everything of one, its headers and its body too"),
        ("retry", "queue its request once more, then remove it"),
        ("drop", "remove it"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("seq", type=int, metavar="SEQ", help="as `list` shows it")
        _finish_dlq(action, name)


def _finish_dlq(action: argparse.ArgumentParser, function: str) -> None:
    action.add_argument("--json", action="store_true", help="the answer as JSON")
    _add_settings(action)
    action.set_defaults(command=_lazy("chatmesh.cli.letters", function))


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is expected, got {number}")
    return number


def _add_keys(commands: _Commands[argparse.ArgumentParser]) -> None:
    keys = commands.add_parser("keys", help="API keys of auth.mode api_keys, in a file that pods read")
    actions = keys.add_subparsers(title="actions", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make one; its secret is printed once")
    _add_caller(new)
    new.add_argument(
        "--expires", type=_argument("duration"), metavar="90d", help="after that it is void (never)"
    )
    listing = actions.add_parser("list", help="whose they are")
    listing.add_argument("--json", action="store_true", help="as JSON")
    revoke = actions.add_parser("revoke", help="remove one; its streams end within seconds")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")
    for action, function in ((new, "new_key"), (listing, "list_keys"), (revoke, "revoke_key")):
        action.add_argument("--file", type=Path, required=True, metavar="FILE", help="the file of keys")
        action.set_defaults(command=_lazy("chatmesh.cli.callers", function))


def _add_keyring(commands: _Commands[argparse.ArgumentParser]) -> None:
    keyring = commands.add_parser(
        "keyring", help="keys that seal what is stored, in a file that all processes read"
    )
    actions = keyring.add_subparsers(title="actions", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key ring with one key")
    rotate = actions.add_parser("rotate", help="add a key, which wraps what is new")
    rotate.add_argument("--later", action="store_true", help="add it only; `use` makes it current")
    use = actions.add_parser("use", help="make a key current that every process knows")
    drop = actions.add_parser("drop", help="remove a key: what it still wraps is unreadable for good")
    for action in (use, drop):
        action.add_argument("id", metavar="ID", help="as `list` shows it")
    listing = actions.add_parser("list", help="the keys' ids and ages")
    functions = {"new": new, "rotate": rotate, "use": use, "drop": drop, "list_keys": listing}
    for function, action in functions.items():
        action.add_argument("--file", type=Path, required=True, metavar="FILE", help="the key ring")
        action.set_defaults(command=_lazy("chatmesh.cli.keyring", function))
    rewrap = actions.add_parser(
        "rewrap", help="wrap all sessions' keys by the current one, so that an old one can go"
    )
    for action in (listing, rewrap):
        action.add_argument("--json", action="store_true", help="as JSON")
    _add_settings(rewrap)
    rewrap.set_defaults(command=_lazy("chatmesh.cli.keyring", "rewrap"))


def _add_token(commands: _Commands[argparse.ArgumentParser]) -> None:
    token = commands.add_parser("token", help="make a token for development, with auth.jwt.secret")
    _add_caller(token)
    token.add_argument(
        "--ttl", type=_argument("duration"), default=3600.0, metavar="1h", help="how long it is valid (1h)"
    )
    _add_settings(token)
    token.set_defaults(command=_lazy("chatmesh.cli.callers", "token"))


def _add_caller(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="USER", help="whose sessions they are")
    parser.add_argument("--tenant", default="default", metavar="TENANT", help="of which customer (default)")
    parser.add_argument(
        "--scopes",
        type=_argument("scopes"),
        default="chat,read",
        metavar="chat,read",
        help="chat, read, operate",
    )


def _argument(name: str) -> Callable[[str], object]:
    """A type of an argument, imported when one is given."""

    def parse(text: str) -> object:
        value: object = getattr(import_module("chatmesh.cli.callers"), name)(text)
        return value

    return parse


def _add_doctor(commands: _Commands[argparse.ArgumentParser]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check the broker, say what to mend and which promises hold on it; exit code 1 if any failed",
    )
    doctor.add_argument(
        "--role", choices=["pod", "worker", "all"], help="whose permissions to try (default: `roles`)"
    )
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    _add_settings(doctor)
    doctor.set_defaults(command=_lazy("chatmesh.cli.doctor", "doctor"))


def _add_chaos(commands: _Commands[argparse.ArgumentParser]) -> None:
    chaos = commands.add_parser(
        "chaos", help="break a mesh of its own and see whether every promise holds", description=_CHAOS
    )
    chaos.add_argument(
        "--seconds", type=float, default=60.0, metavar="N", help="so long are there faults (60)"
    )
    chaos.add_argument(
        "--seed", type=int, metavar="S", help="of the schedule of faults (default: a random one)"
    )
    chaos.add_argument("--pods", type=int, default=2, metavar="N", help="pods (2)")
    chaos.add_argument("--workers", type=int, default=3, metavar="N", help="workers (3)")
    chaos.add_argument("--servers", type=int, default=1, choices=[1, 3], help="nats-servers (1)")
    chaos.add_argument("--sessions", type=int, default=20, metavar="N", help="people who talk (20)")
    chaos.add_argument(
        "--faults", type=_fault_names, default=_FAULTS, metavar="NAME,…", help=f"some of {_FAULTS} (all)"
    )
    chaos.add_argument(
        "--unfenced",
        action="store_true",
        help="freeze workers that write without a fence: shows that violations are found",
    )
    chaos.add_argument("--json", type=Path, metavar="FILE", help="write the report there as JSON")
    chaos.add_argument("--keep", type=Path, metavar="DIR", help="put logs and stores there and leave them")
    chaos.set_defaults(command=_lazy("chatmesh.cli.chaos", "chaos"))


def _add_natsconf(commands: _Commands[argparse.ArgumentParser]) -> None:
    natsconf = commands.add_parser(
        "natsconf",
        help="write a nats-server configuration with a user for each process, and the processes' files",
        description=_NATSCONF,
    )
    natsconf.add_argument("--pods", type=_at_least_one, default=2, metavar="N", help="pods (2)")
    natsconf.add_argument("--workers", type=_at_least_one, default=2, metavar="N", help="workers (2)")
    natsconf.add_argument(
        "--out", type=Path, metavar="DIR", help="write there (default: print the server's only)"
    )
    natsconf.add_argument("--store", type=Path, metavar="DIR", help="where the server stores (OUT/jetstream)")
    natsconf.add_argument("--host", default="127.0.0.1", help="where the server listens (127.0.0.1)")
    natsconf.add_argument("--port", type=int, default=4222, help="and its port (4222)")
    natsconf.add_argument(
        "--tls",
        type=Path,
        metavar="DIR",
        help="encrypt, with server.pem, server-key.pem and ca.pem from there",
    )
    natsconf.add_argument(
        "--force", action="store_true", help="write over files that are there; makes new keys"
    )
    _add_settings(natsconf)
    natsconf.set_defaults(command=_lazy("chatmesh.cli.natsconf", "natsconf"))


def _fault_names(text: str) -> list[str]:
    """Imported when it is needed: `--help` and every other command cost nothing."""
    names: list[str] = import_module("chatmesh.cli.chaos").faults(text)
    return names
