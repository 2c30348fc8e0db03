"""What is measured, and what is to be reached. Pure.

Targets are of one kind: a limit for the figure itself, or for its ratio to the floor's figure of the same round. Absolute
times are of one machine and one hour; ratios last longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chatmesh.operate.bench.job import Load


@dataclass(frozen=True, slots=True)
class Figure:
    """`target` is of the ratio to the floor where `is_ratio` is set. `is_more_better`: it is a least, else a most."""

    key: str
    title: str
    unit: str
    target: float | None = None
    is_ratio: bool = False
    is_more_better: bool = False

    def is_met(self, value: float, ratio: float | None) -> bool | None:
        """None where there is nothing to reach, or no floor to compare with."""
        reached = ratio if self.is_ratio else value
        if self.target is None or reached is None:
            return None
        return reached >= self.target if self.is_more_better else reached <= self.target


@dataclass(frozen=True, slots=True)
class Scenario:
    """`pods`, `workers`: so many at least. `settings` of the mesh. `quick` is the load of `--quick`. `is_long`: it is run
    only where it is named, and once, however many rounds there are."""

    name: str
    title: str
    load: Load
    quick: Load
    figures: tuple[Figure, ...]
    has_floor: bool = True
    pods: int = 1
    workers: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    is_long: bool = False


STARTS = "starts"
"""The load that needs no client."""

SOAK = "soak"
"""The load that goes on while memory is watched."""

SETTINGS: Mapping[str, object] = {
    "worker.concurrency": 1000,
    "sse.max_connections": 20_000,
    "streams.transcript_max_bytes": 8 << 30,
}
"""Of every mesh: bounds that are made for a machine with other things to do would be what is measured."""

SLOPE = 16.0
"""KiB a minute, 23 MiB a day: who restarts once a week does not notice."""

_CPU = Figure("cpu", "CPU of all processes for a token", "µs", 1.6, is_ratio=True)
_RATE = Figure("rate", "tokens a second", "1/s", 1.8, is_ratio=True, is_more_better=True)
_FIRST = (Figure("first_p50", "first token, p50", "ms"), Figure("first_p99", "first token, p99", "ms"))

SCENARIOS = (
    Scenario(
        "burst",
        "50 people get an answer as fast as it comes",
        Load("talks", sessions=50, tokens=1000),
        Load("talks", sessions=50, tokens=1000),
        (_RATE, Figure("cpu", _CPU.title, "µs"), *_FIRST),
    ),
    Scenario(
        "paced",
        "200 people get 50 tokens a second each",
        Load("talks", sessions=200, tokens=250, rate=50, stagger_seconds=1),
        Load("talks", sessions=200, tokens=250, rate=50, stagger_seconds=1),
        (
            Figure("held", "slowest reader's share of the rate", "%", 98, is_more_better=True),
            _CPU,
            _FIRST[0],
            Figure("first_p99", "first token, p99", "ms", 10),
            Figure("delay_p50", "added delay of a token, p50", "ms"),
            Figure("delay_p99", "added delay of a token, p99", "ms", 55),
        ),
    ),
    Scenario(
        "ttft",
        "one person after the other asks an idle system",
        Load("firsts", sessions=100, tokens=5),
        Load("firsts", sessions=30, tokens=5),
        (
            Figure("first_p50", "first token, p50", "ms", 4, is_ratio=True),
            Figure("first_p99", "first token, p99", "ms", 5, is_ratio=True),
        ),
    ),
    Scenario(
        "fanout",
        "500 people read one answer at 50 tokens a second",
        Load("talks", tokens=200, rate=50, readers=500),
        Load("talks", tokens=100, rate=50, readers=500),
        (
            Figure("cpu", "CPU of all processes for a token to a reader", "µs", 0.5, is_ratio=True),
            Figure("held", "slowest reader's share of the rate", "%", 98, is_more_better=True),
            Figure("delay_p99", "added delay of a token, p99", "ms", 55),
        ),
    ),
    Scenario(
        "idle",
        "people have a page open and say nothing",
        Load("idle", steps=(1000, 5000, 10_000)),
        Load("idle", steps=(1000, 2000)),
        (
            Figure("kib", "memory of a connection, all processes", "KiB", 3),
            Figure("idle_cpu", "CPU while nothing happens, all processes", "% of a core", 1),
            Figure("open_rate", "connections opened a second", "1/s", is_more_better=True),
        ),
    ),
    Scenario(
        "resume",
        "people come back to an answer of 200 chunks at another pod",
        Load("resumes", sessions=100, tokens=200, readers=5),
        Load("resumes", sessions=30, tokens=200, readers=5),
        (
            Figure("resume_p50", "one after the other, p50", "ms", 10),
            Figure("resume_p99", "one after the other, p99", "ms"),
            Figure("storm_p99", "all at once, p99", "ms"),
            Figure("storm_rate", "all at once, readers a second", "1/s", is_more_better=True),
        ),
        has_floor=False,
        pods=2,
    ),
    Scenario(
        "takeover",
        "a worker is killed while 20 people get 20 tokens a second each",
        Load("takeover", sessions=20, tokens=200, rate=20),
        Load("takeover", sessions=20, tokens=100, rate=20),
        (
            Figure("silence_p50", "silence of those who were hit, p50", "s", 1),
            Figure("silence_most", "silence of those who were hit, longest", "s", 5),
        ),
        has_floor=False,
        workers=2,
    ),
    Scenario(
        "stop",
        "people stop a model that says nothing",
        Load("stops", sessions=50, tokens=1000, rate=0.1),
        Load("stops", sessions=20, tokens=1000, rate=0.1),
        (
            Figure("stop_p50", "from the stop to the final chunk, p50", "ms"),
            Figure("stop_p99", "from the stop to the final chunk, p99", "ms", 100),
        ),
        has_floor=False,
    ),
    Scenario(
        "start",
        "pods and workers join, with the broker running",
        Load(STARTS, sessions=5),
        Load(STARTS, sessions=2),
        (
            Figure("pod", "a pod, from its start to ready", "s", 1),
            Figure("worker", "a worker, from its start to ready", "s", 1),
        ),
        has_floor=False,
    ),
    Scenario(
        "long",
        "a session that has said 10,000 messages",
        Load("long", tokens=3, steps=(0, 1000, 10_000)),
        Load("long", tokens=3, steps=(0, 200)),
        (
            Figure("each", "CPU of all processes for a request, in the longest", "µs"),
            Figure("beside", "the same, in a new one beside it", "µs"),
            Figure("growth", "in the longest, against an empty broker's first", "×"),
            Figure("first", "first token in the longest, p50", "ms"),
            Figure("open", "a stream of the longest opens, p50", "ms"),
        ),
        has_floor=False,
    ),
    Scenario(
        "many",
        "up to 10,000 people have a stream open and get 50 tokens each, 100 at a time",
        Load("many", tokens=50, steps=(100, 1000, 10_000)),
        Load("many", tokens=50, steps=(100, 1000)),
        (
            Figure("each", "CPU of all processes for a token, among most people", "µs"),
            Figure("growth", "the same, beside 100 people", "×"),
        ),
        has_floor=False,
    ),
    Scenario(
        "slow",
        "1,000 take nothing of an answer that 1,000 read at 50 tokens a second",
        Load("slow", tokens=1000, rate=50, readers=2000),
        Load("slow", tokens=300, rate=50, readers=2000),
        (
            Figure("held", "slowest quick reader's share of the rate", "%", 98, is_more_better=True),
            Figure("delay_p99", "added delay of a quick one's token, p99", "ms", 55),
            Figure("kib", "memory for each slow reader, all processes", "KiB"),
            Figure("caught_up", "until the slow ones have it all", "s"),
        ),
        has_floor=False,
    ),
    Scenario(
        "crowd",
        "one pod and one worker among 1,000 pods and 1,000 workers that only beat",
        Load("crowd", tokens=3, steps=(0, 100, 1000), seconds=20),
        Load("crowd", tokens=3, steps=(0, 200), seconds=5),
        (
            Figure("pod_share", "CPU of the pod for all others", "% of a core"),
            Figure("worker_share", "CPU of the worker for all others", "% of a core"),
            Figure("pod_kib", "memory of the pod for all others", "KiB"),
            Figure("worker_kib", "memory of the worker for all others", "KiB"),
            Figure("each", "CPU of all processes for a request, among them", "µs"),
            Figure("growth", "the same, beside nobody else", "×"),
            Figure("first", "first token among them, p50", "ms"),
            Figure("moved", "CPU of the worker for a session that somebody opens or leaves elsewhere", "µs"),
            Figure("lookup", "the pods of a session are read, p50", "ms"),
        ),
        has_floor=False,
    ),
    Scenario(
        "deep",
        "people begin sessions beside up to 10 million stored messages of others",
        Load("deep", tokens=3, steps=(0, 1_000_000, 10_000_000), seconds=20),
        Load("deep", tokens=3, steps=(0, 20_000), seconds=3),
        (
            Figure("each", "CPU of all processes for a request, beside the most", "µs"),
            Figure("growth", "the same, against an empty transcript", "×", 1.25),
            Figure("first", "first token, p50", "ms"),
            Figure("first_p99", "first token, p99", "ms"),
            Figure("open", "a stream of a new session opens, p50", "ms"),
            Figure("history", "the history of a stored session, p50", "ms"),
            Figure("history_p99", "the history of a stored session, p99", "ms"),
            Figure("beside", "CPU of all processes for a request in a stored session", "µs"),
            Figure("returned", "first token in a stored session, p50", "ms"),
            Figure("broker_share", "CPU of the broker for what is stored", "% of a core"),
            Figure("broker_kib", "memory of the broker for what is stored", "KiB"),
            Figure("disk_mib", "its store on disk", "MiB"),
        ),
        has_floor=False,
        settings={"streams.transcript_max_bytes": 16 << 30},
        is_long=True,
    ),
    Scenario(
        "soak",
        "20 people begin sessions, go back to old ones, leave and come back, stop, again and again",
        Load(SOAK, sessions=20, tokens=40, rate=40, seconds=3600),
        Load(SOAK, sessions=20, tokens=40, rate=40, seconds=120),
        (
            Figure("pod_slope", "memory of the pod grows by", "KiB/min", SLOPE),
            Figure("worker_slope", "memory of the worker grows by", "KiB/min", SLOPE),
            Figure("broker_slope", "memory of the broker grows by", "KiB/min"),
            Figure("pod_blocks", "blocks in the pod's heap grow by", "1/min"),
            Figure("worker_blocks", "blocks in the worker's heap grow by", "1/min"),
            Figure("answers", "answers a minute", "1/min", is_more_better=True),
            Figure("cpu", "CPU of all processes for a token", "µs"),
            *_FIRST,
            Figure("later", "first token, last quarter beside the first", "×", 1.25),
        ),
        has_floor=False,
        settings={"http.enabled": True},
        is_long=True,
    ),
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
