"""Every metric of the process, declared once. No label carries an id: a session or a pod in a label never dies."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from chatmesh.telemetry.traffic import Sizes, Spans

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIT = (*_FAST, 60, 300, 1800, 7200, 86_400)

heap_blocks = Gauge(
    "chatmesh_heap_blocks",
    "Blocks of memory that the interpreter has given out, about one for each object: what keeps things shows here first.",
)

errors = Counter("chatmesh_errors_total", "Errors.", ["room", "kind"])

broker_disconnects = Counter("chatmesh_broker_disconnects_total", "Connections to NATS lost.")
broker_rebuilds = Counter(
    "chatmesh_broker_rebuilds_total", "Clients that closed for good and were built anew."
)
broker_subscriptions = Gauge("chatmesh_broker_subscriptions", "Subscriptions of this process.")
published_bytes = Sizes(
    "chatmesh_published_bytes",
    "Every message handed to NATS: its count is the publish rate, its sum by its count the mean size. "
    "`subject` is the pattern, such as `chat.session.*.broadcast`; `$JS.>` are requests to JetStream "
    "and leases, `_INBOX.>` and `other` replies.",
    "subject",
)
delivery_lag = Histogram(
    "chatmesh_delivery_lag_seconds",
    "From publish to delivery: of live batches at the pod, of requests (`chat.workflow.execute.*`, "
    "first deliveries only) at the worker.",
    ["subject"],
    buckets=_FAST,
)
publish_seconds = Spans(
    "chatmesh_publish_seconds", "From a JetStream publish to its acknowledgement, by stream.", "stream"
)
publish_retries = Counter(
    "chatmesh_publish_retries_total", "Messages sent again for want of an acknowledgement."
)
publish_unanswered = Counter(
    "chatmesh_publish_unanswered_total",
    "Tries to store a message that got no answer though the connection lived.",
    ["stream"],
)
stream_fill = Gauge(
    "chatmesh_stream_fill_ratio",
    "How full a stream is, of its `max_bytes`; looked at every 10 s, and every second from four fifths on.",
    ["stream"],
)

requests_accepted = Counter("chatmesh_requests_accepted_total", "Messages acknowledged by JetStream.")
requests_duplicate = Counter("chatmesh_requests_duplicate_total", "Repeated messages that were recognised.")
http_requests = Counter(
    "chatmesh_http_requests_total", "HTTP answers, by the route's pattern.", ["route", "status"]
)
http_late = Counter(
    "chatmesh_http_late_total",
    "Connections closed because a request did not arrive in time: `silent`, `head`, `body`.",
    ["missing"],
)
http_stalled = Counter(
    "chatmesh_http_stalled_total", "Connections cut because the client took nothing of what waited for it."
)

requests_waiting = Gauge(
    "chatmesh_requests_waiting",
    "Messages that wait to be stored, while as many as a pod stores at a time are under way.",
)

limited = Counter(
    "chatmesh_limited_total",
    "What was past a limit of `limits`: `user_rate`, `tenant_rate`, `user_answers`, `tenant_answers`, "
    "`busy_answers`, `address`, `failed_auth`, `session_readers`, `history`.",
    ["limit"],
)

http_connections = Gauge("chatmesh_http_connections", "Open HTTP connections.")

queue_wait_seconds = Histogram(
    "chatmesh_queue_wait_seconds",
    "From acceptance to the beginning of the first attempt, by the clocks of two machines.",
    buckets=_WAIT,
)
redeliveries = Counter("chatmesh_redeliveries_total", "Requests that were delivered before.")
first_token_seconds = Spans(
    "chatmesh_first_token_seconds",
    "From acceptance to the first chunk of an answer's first attempt, by the clocks of two machines.",
    "model",
)
chunk_gap_seconds = Spans(
    "chatmesh_chunk_gap_seconds", "From one piece of an answer to the next, as the model gives them.", "model"
)
generations_active = Gauge("chatmesh_generations_active", "Answers being generated.")
generations = Counter(
    "chatmesh_generations_total",
    "Turns by how they ended: `done`, `lost` (another worker has it), `failed`, `handed_over`.",
    ["outcome"],
)
takeovers = Counter(
    "chatmesh_takeovers_total",
    "Answers continued after another worker: `lost`, `handed_over`.",
    ["after"],
)
lost_workers = Counter("chatmesh_lost_workers_total", "Workers that this one found dead.")
deliveries_parked = Gauge("chatmesh_deliveries_parked", "Requests held until their session is free.")
provider_retries = Counter(
    "chatmesh_provider_retries_total",
    "Requests to a model's server made again, by what went wrong: `provider_rate_limited`, "
    "`provider_overloaded` and others.",
    ["code"],
)
tokens = Counter(
    "chatmesh_tokens_total",
    "Tokens of answers that ended here: `prompt`, `delivered`, `discarded`; the model by its name in "
    "the configuration.",
    ["model", "kind"],
)
cost = Counter("chatmesh_cost_total", "What answers cost, for models with a price.", ["model"])
dead_letters = Counter(
    "chatmesh_dead_letters_total",
    "Requests that became dead letters: `undecodable`, `key_missing`, `attempts`, `expired`.",
    ["reason"],
)

batches = Counter("chatmesh_batches_total", "Batches stored.")
chunks = Counter("chatmesh_chunks_total", "Chunks stored.")
routed = Counter(
    "chatmesh_batches_routed_total",
    "Batches sent: `pod`, `broadcast`, `copy` (a single chunk for foreign pods).",
    ["way"],
)

readers = Gauge("chatmesh_readers", "Open event streams.")
gap_fills = Counter(
    "chatmesh_gap_fills_total", "Records that did not come live and were read from the transcript."
)
tail_checks = Counter("chatmesh_tail_checks_total", "Looks at the transcript after silence.")
slow_readers = Counter(
    "chatmesh_slow_readers_total", "Readers that fell behind and went on from the transcript."
)
dropped = Counter(
    "chatmesh_dropped_total",
    "Live messages dropped: `undecodable`, `slow_reader` (foreign chunks only).",
    ["reason"],
)
chunks_delivered = Counter("chatmesh_chunks_delivered_total", "Chunks written to readers live.")

spans_exported = Counter("chatmesh_trace_spans_exported_total", "Spans that the collector has taken.")
spans_dropped = Counter(
    "chatmesh_trace_spans_dropped_total",
    "Spans that nobody has got: `queue_full`, `not_taken` (the collector is away, or refuses), `shutdown`.",
    ["reason"],
)
