"""Lists of pipelines and requests, items that are not there, and a page of the API that needs no other host."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from redis.asyncio import Redis

from alto_streams.agents.egress.agent import Egress
from alto_streams.gateway import PipelineInfo
from alto_streams.gateway.app import create_gateway
from alto_streams.pipelines.factcheck import pipeline as factcheck
from alto_streams.wire.records import Event as LogEvent
from alto_streams.wire.records import EventKind, Raw
from alto_streams.wire.request_ids import new_request_id
from tests.broker.brokers import Server
from tests.gateway.harness import PIPELINES, ListLog, Results, event, settings_for, story

INFO = PipelineInfo.of(factcheck)
ASK = {"pipeline": "factcheck", "input": {"prompt": "Why?"}}
OTHER = {"pipeline": "questions", "input": {"prompt": "Why?"}}


@pytest.fixture
async def http(redis: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway of two pipelines, on an empty Redis."""
    async with Redis.from_url(redis.url) as client:
        await client.flushall()
    app = create_gateway(settings_for(redis.url), {"factcheck": INFO, **PIPELINES}, ListLog())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as made:
            yield made


async def told(redis: Server, *events: LogEvent) -> None:
    async with Redis.from_url(redis.url) as client:
        results = Results()
        egress = Egress(client, f"p-{uuid.uuid4().hex}", results.replay, settings_for(redis.url))
        await egress.publish(results.append(*events))


async def asked(http: httpx.AsyncClient, count: int, body: dict[str, object] = ASK) -> list[str]:
    return [(await http.post("/v1/requests", json=body)).json()["id"] for _ in range(count)]


async def test_pipelines_are_listed_with_what_a_request_needs(http: httpx.AsyncClient) -> None:
    first, second = (await http.get("/v1/pipelines")).json()["pipelines"]
    assert (first["name"], first["result"], second["name"]) == ("factcheck", "report", "questions")
    assert first["request"]["$defs"]["Question"]["required"] == ["prompt"]
    assert {"name": "claims", "kind": "generate", "shows": "items", "lineage": ["answer", "claims"]} in first["stages"]


async def test_requests_are_listed_newest_first_and_page_by_page(http: httpx.AsyncClient) -> None:
    mine, others = await asked(http, 5), await asked(http, 2, OTHER)
    mine += await asked(http, 2)
    newest_first = sorted([*mine, *others], reverse=True)
    found: list[str] = []
    before: dict[str, str] = {}
    while before is not None:
        page = (await http.get("/v1/requests", params={"limit": "3", **before})).json()
        assert len(page["requests"]) <= 3
        found += [each["id"] for each in page["requests"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert found == newest_first
    page = (await http.get("/v1/requests", params={"pipeline": "questions"})).json()
    assert [(each["id"], each["pipeline"], each["status"]) for each in page["requests"]] == [
        (each, "questions", "accepted") for each in reversed(others)
    ]


async def test_requests_of_one_state_are_found_among_many(http: httpx.AsyncClient, redis: Server) -> None:
    requests = await asked(http, 450)
    running, ended = requests[2], requests[:2]
    await told(redis, event(running, 0, EventKind.ACCEPTED), *(each for one in ended for each in story(one, 1)))
    for state, wanted in [("running", [running]), ("ok", list(reversed(ended))), ("failed", [])]:
        page = (await http.get("/v1/requests", params={"state": state})).json()
        assert ([each["id"] for each in page["requests"]], page["next"]) == (wanted, None)
        assert all("result" not in each for each in page["requests"])


@pytest.mark.parametrize(
    ("given", "field"),
    [({"state": "done"}, "state"), ({"pipeline": "nope"}, "pipeline"), ({"limit": "0"}, "query.limit")],
)
async def test_a_list_that_cannot_be_is_refused(http: httpx.AsyncClient, given: dict[str, str], field: str) -> None:
    answer = await http.get("/v1/requests", params=given)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await http.get("/v1/requests", params={"before": "x"})).status_code == 404


async def test_an_item_that_never_was_cannot_be_cancelled(http: httpx.AsyncClient, redis: Server) -> None:
    (request,) = await asked(http, 1)
    item = LogEvent(request, EventKind.ITEM, "claims", "0/1", 0, 1, Raw(b'{"value": {"claim": "x"}}'))
    await told(redis, event(request, 0, EventKind.ACCEPTED), item)
    url = f"/v1/requests/{request}/items"
    for there in ("claims/0/1", "answer/0", "queries/0/1/1"):  # of queries nothing is told, of their claims it is
        assert (await http.delete(f"{url}/{there}")).status_code == 202, there
    for gone, said in [("claims/99/0", "tells of claims 99/0"), ("queries/99/0/0", "so queries has none at 99/0/0")]:
        answer = await http.delete(f"{url}/{gone}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:alto-streams:problem:no-such-item")
        assert said in answer.json()["detail"]


async def test_an_id_that_was_never_submitted_is_told_so(http: httpx.AsyncClient) -> None:
    for method, way in [("GET", ""), ("DELETE", ""), ("DELETE", "/items/claims/0/1"), ("GET", "/events")]:
        answer = await http.request(method, f"/v1/requests/{new_request_id()}{way}")
        assert answer.status_code == 404
        assert "never heard of, or forgotten after 3600 s" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field", "near"),
    [
        (ASK | {"input": {"prompt": "x", "stop_at_first_flase": True}}, "input.stop_at_first_flase", "stop_at_first_f"),
        (ASK | {"input": {"promt": "x"}}, "input.promt", "prompt"),
        (ASK | {"deadlin": 3}, "deadlin", "deadline"),
    ],
)
async def test_an_unknown_field_is_refused_with_the_nearest(
    http: httpx.AsyncClient, body: dict[str, object], field: str, near: str
) -> None:
    answer = await http.post("/v1/requests", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert f"did you mean `{near}" in answer.json()["detail"]


async def test_the_page_of_the_api_names_no_other_host(http: httpx.AsyncClient) -> None:
    page = (await http.get("/docs")).text
    named = re.findall(r"""(?:src|href)=["']([^"']+)""", page) + re.findall(r"""["']([a-z]+://[^"']+)""", page)
    assert len(named) >= 3
    assert [each for each in named if urlsplit(each).netloc] == []
    assert 'validatorUrl": null' in page
    for each in named:
        answer = await http.get(each)
        assert answer.status_code == 200, each
        assert len(answer.content) > 1_000
    assert (await http.get("/redoc")).status_code == 404
