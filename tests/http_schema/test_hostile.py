"""Requests made to break something: a 4xx with a stable code, never a 5xx."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st

from chatmesh.ingress.bodies import parse_post
from chatmesh.web import Problem
from tests.http_schema.meshes import schema_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, models_known, running


def with_context(value: bytes) -> bytes:
    return b'{"message": "hi", "context": {"more": ' + value + b"}}"


BODIES = {
    "nothing": (400, "not_json", b""),
    "words": (400, "not_json", b"hello"),
    "invalid UTF-8": (400, "not_json", b'{"message": "\xff"}'),
    "UTF-16": (400, "not_json", '{"message": "hi"}'.encode("utf-16")),
    "byte order mark": (400, "not_json", b'\xef\xbb\xbf{"message": "hi"}'),
    "encoded surrogate": (400, "not_json", b'{"message": "\xed\xa0\x80"}'),
    "lone surrogate": (400, "not_json", b'{"message": "\\ud800"}'),
    "lone surrogate as a key": (400, "not_json", b'{"message": "hi", "\\udfff": 1}'),
    "NaN": (400, "not_json", with_context(b"NaN")),
    "Infinity": (400, "not_json", with_context(b"-Infinity")),
    "number past a double": (400, "not_json", with_context(b"1e400")),
    "integer past 64 bits": (400, "not_json", with_context(b"18446744073709551616")),
    "negative integer past 64 bits": (400, "not_json", with_context(b"-9223372036854775809")),
    "endless integer": (400, "not_json", with_context(b"9" * 100_000)),
    "key that is there twice": (400, "not_json", b'{"message": "one", "message": "two"}'),
    "deep key that is there twice": (400, "not_json", with_context(b'[{"a": 1, "\\u0061": 2}]')),
    "deep lists": (400, "not_json", with_context(b"[" * 40 + b"]" * 40)),
    "deeper lists": (400, "not_json", with_context(b"[" * 100_000 + b"]" * 100_000)),
    "deep objects": (400, "not_json", with_context(b'{"a":' * 40 + b"1" + b"}" * 40)),
    "unfinished": (400, "not_json", b'{"message": "hi"'),
    "two values": (400, "not_json", b'{"message": "hi"} {}'),
    "no object": (422, "invalid_body", b"[]"),
    "null": (422, "invalid_body", b"null"),
    "no message": (422, "invalid_body", b"{}"),
    "number as the message": (422, "invalid_body", b'{"message": 1}'),
    "subject as the id": (422, "invalid_body", b'{"message": "hi", "message_id": "a.>"}'),
    "line break in the id": (422, "invalid_body", b'{"message": "hi", "message_id": "a\\n"}'),
    "number in a string": (422, "invalid_body", b'{"message": "hi", "context": {"max_tokens": "5"}}'),
    "truth as a number": (422, "invalid_body", b'{"message": "hi", "context": {"temperature": true}}'),
    "unknown model": (422, "unknown_model", b'{"message": "hi", "context": {"model": "\\u0000"}}'),
}


async def test_hostile_bodies_are_refused_with_their_code(broker: Broker) -> None:
    # Reading the document takes seconds, in which the loop hears no heartbeat: nobody is dead for that.
    async with running(broker.url, "heartbeat.interval_seconds=60") as mesh, client_of(mesh) as client:
        operation = schema_of(mesh)["/v1/sessions/{session_id}/messages"]["POST"]
        await models_known(client)
        for name, (status, code, body) in BODIES.items():
            for headers, sent in [({}, body), ({"Content-Encoding": "gzip"}, gzip.compress(body))]:
                answer = await client.post(
                    "/v1/sessions/s/messages",
                    content=sent,
                    headers={"Content-Type": "application/json", **headers},
                )
                assert (answer.status_code, answer.json()["code"]) == (status, code), name
                operation.validate_response(answer)
        assert (await client.get("/v1/sessions/s/messages")).status_code == 404


NO_JSON = [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "\xff"]


async def test_body_that_is_not_declared_as_json_is_415(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as client:
        operation = schema_of(mesh)["/v1/sessions/{session_id}/messages"]["POST"]
        for content_type in NO_JSON:
            headers = {} if content_type is None else {"Content-Type": content_type.encode("latin-1")}
            answer = await client.post("/v1/sessions/s/messages", content=b"{}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (415, "not_json_type"), content_type
            operation.validate_response(answer)


PATHS = {
    "/v1/sessions/a%2Fb/messages": 422,
    "/v1/sessions/a%252Fb/messages": 422,
    "/v1/sessions/a%00b/messages": 422,
    "/v1/sessions/%FF/messages": 422,
    "/v1/sessions/%ED%A0%80/events": 422,
    "/v1/sessions/*/messages": 422,
    "/v1/sessions/%3E/events": 422,
    "/v1/sessions/a.b/messages/m": 422,
    "/v1/sessions/s/messages/a%0Ab": 422,
    "/v1/sessions/s/events?message_id=%3E": 422,
    "/v1/sessions/s/events?message_id=": 422,
    f"/v1/sessions/{'a' * 129}/messages": 422,
    "/v1/sessions/..%2Fsessions/messages": 422,
    "/v1/sessions?limit=0": 422,
    "/v1/sessions?limit=501": 422,
    "/v1/sessions?limit=000500999": 422,
    "/v1/sessions?limit=%D9%A3": 422,
    "/v1/sessions?limit=%FF": 422,
    "/v1/sessions?limit=1e1": 422,
    "/v1/sessions//messages": 404,
    "/v1/sessions/s/messages/": 404,
    "/v1/sessions/s%2Fmessages": 405,
    "/v1%2Fsessions": 404,
    "//v1/sessions": 404,
    "/page/..%2F..%2Fserver.py": 404,
    "/page/%2e%2e/server.py": 404,
}


async def test_hostile_addresses_are_404_or_422(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as client:
        assert mesh.server is not None
        for path, status in PATHS.items():
            answer = await client.get(mesh.server.url + path)
            assert (answer.status_code, answer.json()["status"]) == (status, status), path
            assert answer.headers["content-type"] == "application/problem+json"


ECHO = {"message": "hi", "context": {"model": "echo"}}
HEADERS = {
    "X-Request-Id": b"\xff\xfe",
    "Idempotency-Key": b"\xff\xfe not a token",
    "Accept": b"\xff, */*;q=nonsense",
    "traceparent": b"00-\xff",
    "Cookie": b"=;=\xff",
    "Content-Type": b'application/json; charset="no such',
}


async def test_odd_headers_hurt_nobody_and_are_not_sent_back(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        for name, value in HEADERS.items():
            headers = {"Content-Type": b"application/json", name: value}
            answer = await client.post("/v1/sessions/s/messages", json=ECHO, headers=headers)
            assert answer.status_code == 202, name
            assert b"\xff" not in b"".join(value for _, value in answer.headers.raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_problem(body: bytes) -> None:
    found: tuple[int, str] | None = None
    try:
        parse_post(body)
    except Problem as problem:
        found = (problem.status, problem.code)
    assert found in (None, (400, "not_json"), (422, "invalid_body"))
