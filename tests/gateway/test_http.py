"""The HTTP API against a real Redis and a log in memory: problems, idempotency, resuming, cancelling, health."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse
from redis.asyncio import Redis

from alto_streams.agents.egress.agent import Egress
from alto_streams.errors import PartDown
from alto_streams.gateway import create_gateway
from alto_streams.gateway.submission import parse_submission
from alto_streams.wire.records import EventKind
from alto_streams.wire.request_ids import new_request_id
from alto_streams.worker.tcp_ports import free_ports
from tests.broker.brokers import Server
from tests.gateway.harness import PIPELINE, PIPELINES, ListLog, Results, in_process, settings_for, story

ASK = {"pipeline": PIPELINE, "input": {"prompt": "Why?"}}


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture
async def http(redis: Server, log: ListLog) -> AsyncIterator[httpx.AsyncClient]:
    async with in_process(settings_for(redis.url, max_body_bytes=2048, horizon_s=60), log) as client:
        yield client


async def publish(redis: Server, *requests: str, chunks: int = 3) -> None:
    async with Redis.from_url(redis.url) as client:
        results = Results()
        egress = Egress(client, f"p-{uuid.uuid4().hex}", results.replay, settings_for(redis.url))
        for request in requests:
            await egress.publish(results.append(*story(request, chunks)))


async def heard(http: httpx.AsyncClient, request: str, **more: dict[str, str]) -> list[ServerSentEvent]:
    async with aconnect_sse(http, "GET", f"/v1/requests/{request}/events", **more) as source:
        assert source.response.status_code == 200, await source.response.aread()
        return [each async for each in source.aiter_sse() if each.data]


def assert_problem(response: httpx.Response, status: int, kind: str, field: str | None = None) -> None:
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    found = (response.status_code, document["status"], document["type"], document.get("field"))
    assert found == (status, status, f"urn:alto-streams:problem:{kind}", field), document


async def test_a_request_is_in_the_log_before_the_answer(http: httpx.AsyncClient, log: ListLog) -> None:
    response = await http.post("/v1/requests", json=ASK | {"deadline": 30, "mode": "barrier"})
    assert response.status_code == 202
    answer = response.json()
    assert answer["events"] == f"/v1/requests/{answer['id']}/events"
    assert uuid.UUID(answer["id"]).version == 7
    (request,) = log.requests
    assert (request.id, request.pipeline, request.context.mode) == (answer["id"], PIPELINE, "barrier")
    assert request.context.deadline_ms is not None
    assert abs(request.context.deadline_ms - time.time() * 1000 - 30_000) < 5_000
    state = (await http.get(f"/v1/requests/{answer['id']}")).json()
    assert (state["status"], state["pipeline"]) == ("accepted", PIPELINE)


async def test_what_is_no_submission_is_refused_as_a_problem(http: httpx.AsyncClient, log: ListLog) -> None:
    json_kind = {"Content-Type": "application/json"}
    url = "/v1/requests"
    assert_problem(await http.post(url, content=b"{", headers=json_kind), 400, "broken-json")
    assert_problem(await http.post(url, data={"a": "b"}), 415, "unsupported-media-type", "Content-Type")
    assert_problem(await http.post(url, content=b" " * 2049, headers=json_kind), 413, "too-large")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1024

    assert_problem(await http.post(url, content=endless(), headers=json_kind), 413, "too-large")
    assert_problem(await http.post(url, json=ASK | {"deadline": -1}), 422, "deadline-in-the-past", "deadline")
    assert_problem(await http.get("/nowhere"), 404, "not-found")
    assert_problem(await http.put(url, json=ASK), 405, "method-not-allowed")
    assert log.requests == []


async def test_an_idempotency_key_stands_for_one_request(http: httpx.AsyncClient, log: ListLog) -> None:
    key = uuid.uuid4().hex
    first = await http.post("/v1/requests", json=ASK, headers={"Idempotency-Key": key})
    again = await http.post("/v1/requests", json=ASK | {"idempotency_key": key})
    assert (again.status_code, again.json()) == (202, first.json())
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(log.requests) == 1
    other = await http.post("/v1/requests", json=ASK | {"mode": "barrier", "idempotency_key": key})
    assert_problem(other, 409, "idempotency-key-reused", "idempotency_key")


async def test_a_try_that_failed_is_appended_again_under_its_id(
    http: httpx.AsyncClient, log: ListLog, redis: Server
) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    log.refusal = PartDown("broker", "kafka://there:1", "gone", "start it")
    refused = await http.post("/v1/requests", json=ASK, headers=key)
    assert_problem(refused, 503, "part-unreachable")
    assert refused.headers["Retry-After"] == "2"
    assert "kafka://there:1" in refused.json()["detail"]
    assert refused.json()["part"] == "broker"
    log.refusal = None
    ids = {(await http.post("/v1/requests", json=ASK, headers=key)).json()["id"] for _ in range(2)}
    assert ids == {request.id for request in log.requests}
    assert len(log.requests) == 1


@pytest.mark.parametrize(
    "request_id", ["x", "0" * 36, str(uuid.uuid4()), new_request_id().upper(), "ffffffff-ffff-7fff-bfff-ffffffffffff"]
)
async def test_what_is_no_id_is_unknown(http: httpx.AsyncClient, request_id: str) -> None:
    for method, url in [("GET", ""), ("DELETE", ""), ("GET", "/events")]:
        assert_problem(await http.request(method, f"/v1/requests/{request_id}{url}"), 404, "unknown-request", "id")


async def test_unknown_and_forgotten_requests(http: httpx.AsyncClient, log: ListLog) -> None:
    young, old = new_request_id(), str(uuid.UUID(int=(int(time.time() - 100) * 1000 << 80) | 7 << 76 | 2 << 62))
    for method, url in [("GET", ""), ("DELETE", ""), ("GET", "/events")]:
        assert_problem(await http.request(method, f"/v1/requests/{young}{url}"), 404, "unknown-request", "id")
        assert_problem(await http.request(method, f"/v1/requests/{old}{url}"), 410, "gone")
    assert log.cancels == []


async def test_events_are_framed_with_ids_and_resume_anywhere(http: httpx.AsyncClient, redis: Server) -> None:
    request, other = new_request_id(), new_request_id()
    await publish(redis, other, request)
    events = await heard(http, request)
    assert [(each.id, each.event) for each in events] == [
        ("5", "accepted"),
        ("6", "chunk"),
        ("7", "chunk"),
        ("8", "chunk"),
        ("9", "done"),
    ]
    piece = events[2].json()
    assert piece.keys() == {"stage", "path", "number", "at_ms", "body"}
    assert (piece["number"], piece["body"]) == (1, {"text": "piece 1\nof\u2028text\r"})
    for after in range(5, 9):
        rest = await heard(http, request, headers={"Last-Event-ID": str(after)})
        assert [each.id for each in rest] == [str(at) for at in range(after + 1, 10)]
        asked = await heard(http, request, params={"last_event_id": str(after)})
        assert [(each.id, each.data) for each in asked] == [(each.id, each.data) for each in rest]
    over = await http.get(f"/v1/requests/{request}/events", headers={"Last-Event-ID": "9"})
    assert over.status_code == 204
    state = (await http.get(f"/v1/requests/{request}")).json()
    assert (state["status"], state["result"], state["last_event_id"]) == ("ok", {"answer": 3}, "9")


@pytest.mark.parametrize("bad", ["x", "-1", "1-0", "1" * 30, "\u0661"])
async def test_a_last_event_id_is_a_number(http: httpx.AsyncClient, redis: Server, bad: str) -> None:
    answer = await http.get(f"/v1/requests/{new_request_id()}/events", params={"last_event_id": bad})
    assert_problem(answer, 422, "invalid-field", "last_event_id")


async def test_cancel(http: httpx.AsyncClient, log: ListLog, redis: Server) -> None:
    request = (await http.post("/v1/requests", json=ASK)).json()["id"]
    assert_problem(await http.delete(f"/v1/requests/{request}?pipeline=other"), 422, "unknown-pipeline", "pipeline")
    assert (await http.delete(f"/v1/requests/{request}")).json()["status"] == "cancelling"
    assert log.cancels == [(PIPELINE, "report", request)]
    lost = new_request_id()
    assert (await http.delete(f"/v1/requests/{lost}?pipeline={PIPELINE}")).status_code == 202
    assert log.cancels[1:] == [(PIPELINE, "report", lost)]
    await publish(redis, request)
    assert_problem(await http.delete(f"/v1/requests/{request}"), 409, "already-ended")


async def test_cancel_of_one_item(http: httpx.AsyncClient, log: ListLog, redis: Server) -> None:
    request = (await http.post("/v1/requests", json=ASK)).json()["id"]
    url = f"/v1/requests/{request}/items"
    for _ in range(2):
        told = await http.delete(f"{url}/claims/3/1~2")
        assert told.status_code == 202
        assert (told.json()["stage"], told.json()["path"], told.json()["status"]) == ("claims", "3/1~2", "cancelling")
    assert log.cancels == [(PIPELINE, "report", request, "claims", "3/1~2")] * 2
    unknown = await http.delete(f"{url}/sentences/0")
    assert_problem(unknown, 422, "invalid-field", "stage")
    assert unknown.json()["known"] == ["answer", "claims"]
    for path in ("", "0", "0/1/2", "0/01", "0/1~0", "x/y", "0//1", "0/9999999"):
        assert_problem(await http.delete(f"{url}/claims/{path}"), 422, "invalid-field", "path")
    other = await http.delete(f"/v1/requests/{new_request_id()}/items/claims/0/1")
    assert_problem(other, 404, "unknown-request", "id")
    assert len(log.cancels) == 2
    await publish(redis, request)
    assert_problem(await http.delete(f"{url}/claims/3/1"), 409, "already-ended")


async def test_a_redis_that_hangs_holds_up_no_cancel(log: ListLog) -> None:
    """It takes connections and never answers; the pipeline is known here, or from the client."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        async with in_process(settings_for(url), log) as http:
            asked = new_request_id()
            began = time.monotonic()
            assert (await http.delete(f"/v1/requests/{asked}?pipeline={PIPELINE}")).status_code == 202
            assert time.monotonic() - began < 1.5
    assert log.cancels == [(PIPELINE, "report", asked)]


async def test_without_redis_requests_are_still_accepted(log: ListLog) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_ports(1)[0]}/0"
    async with in_process(settings_for(url), log) as http:
        accepted = await http.post("/v1/requests", json=ASK)
        assert accepted.status_code == 202
        request = accepted.json()["id"]
        assert [each.id for each in log.requests] == [request]
        assert_problem(await http.get(f"/v1/requests/{request}"), 503, "part-unreachable")
        keyed = await http.post("/v1/requests", json=ASK | {"idempotency_key": "k"})
        assert_problem(keyed, 503, "part-unreachable", "idempotency_key")
        assert (await http.delete(f"/v1/requests/{request}")).status_code == 202
        health = await http.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["parts"]["broker"]["reachable"]
        assert not health.json()["parts"]["redis"]["reachable"]
        assert "secret" not in health.text + keyed.text


async def test_a_stream_that_was_trimmed_says_so(http: httpx.AsyncClient, redis: Server) -> None:
    request = new_request_id()
    async with Redis.from_url(redis.url) as client:
        results = Results()
        egress = Egress(client, f"p-{uuid.uuid4().hex}", results.replay, settings_for(redis.url, events_max=100))
        await egress.publish(results.append(*story(request, 500)))
    behind = await heard(http, request, headers={"Last-Event-ID": "3"})
    assert behind[0].event == "truncated"
    assert behind[0].json() == {"after": 3, "next": int(behind[1].id)}
    assert behind[-1].event == EventKind.DONE
    abreast = await heard(http, request, headers={"Last-Event-ID": "480"})
    assert [int(each.id) for each in abreast] == list(range(481, 502))


async def test_operations(http: httpx.AsyncClient, redis: Server) -> None:
    request = (await http.post("/v1/requests", json=ASK)).json()["id"]
    await publish(redis, request)
    await heard(http, request)
    page = (await http.get("/metrics")).text
    assert f'alto_gateway_requests_accepted_total{{pipeline="{PIPELINE}"}} 1.0' in page
    assert "alto_gateway_events_total 5.0" in page
    assert "alto_gateway_streams 0.0" in page
    assert (await http.get("/healthz")).json()["status"] == "ok"
    schema = (await http.get("/openapi.json")).json()
    requests = "/v1/requests"
    one = f"{requests}/{{request_id}}"
    assert {requests, one, f"{one}/events", f"{one}/items/{{stage}}/{{path}}"} <= schema["paths"].keys()
    assert schema["components"]["schemas"][f"{PIPELINE}.Question"]["required"] == ["prompt"]
    refused = schema["paths"]["/v1/requests"]["post"]["responses"]["422"]["content"]
    assert refused.keys() == {"application/problem+json"}
    assert (await http.get("/docs")).status_code == 200


async def test_a_gateway_forgets_what_is_past_the_horizon() -> None:
    log = ListLog()
    app = create_gateway(settings_for(f"redis://127.0.0.1:{free_ports(1)[0]}/0", horizon_s=60), PIPELINES, log)
    async with app.router.lifespan_context(app):
        service = app.state.service
        old = str(uuid.UUID(int=(int(time.time() - 100) * 1000 << 80) | 7 << 76 | 2 << 62))
        service.recent[old] = PIPELINE
        asked = parse_submission(msgspec.json.encode(ASK), None, PIPELINES, service.settings, int(time.time() * 1000))
        request, _ = await service.accept(asked)
        assert list(service.recent) == [request]
