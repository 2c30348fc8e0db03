"""The parser: every command, its arguments and its help, by topic. What runs a command is imported when it runs."""

from __future__ import annotations

import argparse

from chatmesh.cli.commands import looking, measuring, mending, process, secrets, talking, watching
from chatmesh.cli.commands.shared import lazy

_EPILOG = """examples:
  chatmesh dev                                       pod, worker and broker in one process
  chatmesh run --role pod --id pod-1 --set nats.servers=nats://127.0.0.1:4222
  chatmesh run --role worker -c config/worker.yaml
  chatmesh check -c config/pod.yaml
  chatmesh chat                                      talk to a mesh, with markdown
  git diff | chatmesh send "review this"             one message, its answer on stdout
  chatmesh top                                       who is there, what waits, how fast it goes
  chatmesh tail my-session --from-start
  chatmesh health pod-1 --json
  chatmesh streams ensure --apply -c config/worker.yaml
  chatmesh verify my-session
  chatmesh usage --by user --since 7d
  chatmesh dlq retry 7
  chatmesh doctor -c config/pod.yaml
  chatmesh bench burst paced --quick --rounds 1      how fast a mesh is here, beside a bare server
  chatmesh natsconf --pods 2 --workers 2 --out nats

exit codes: 0 done · 1 failed · 2 usage or configuration · 3 broker or pod not reachable · 4 not authorised · 5 port in use · 70 gave up
  130 stopped by Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """Every command with its arguments. Sets `command`: what runs it, given the namespace."""
    top = argparse.ArgumentParser(
        prog="chatmesh",
        description="AI chat over NATS JetStream: accepted once, answered once, every token once and in order.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    process.add_dev(commands)
    process.add_run(commands)
    talking.add_chat(commands)
    talking.add_send(commands)
    process.add_check(commands)
    process.add_config(commands)
    watching.add_top(commands)
    watching.add_ps(commands)
    watching.add_sessions(commands)
    watching.add_queue(commands)
    watching.add_tail(commands)
    looking.add_health(commands)
    mending.add_streams(commands)
    looking.add_verify(commands)
    looking.add_usage(commands)
    mending.add_dlq(commands)
    looking.add_doctor(commands)
    secrets.add_keys(commands)
    secrets.add_keyring(commands)
    secrets.add_token(commands)
    mending.add_chaos(commands)
    measuring.add_bench(commands)
    mending.add_natsconf(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=lazy("chatmesh.cli.settings", "version"))
    return top
