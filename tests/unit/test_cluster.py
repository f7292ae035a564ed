"""What runs on one machine: every role once, with its own port, after what it needs, with the settings of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alto_streams.define.loading import load_pipelines
from alto_streams.errors import ConfigError
from alto_streams.local import servers
from alto_streams.local.cluster import Cluster, environment, local_cluster, on_free_ports
from alto_streams.log.topics_file import load_topics, required_topics, scheduler_topics
from alto_streams.settings import Settings
from alto_streams.worker.tcp_ports import free_ports

FACTCHECK = ["alto_streams.pipelines.factcheck"]
STAGES = ["answer", "claims", "queries", "evidence", "verdict", "report"]
SCRIPTED = {"chat": "scripted:a.jsonl", "judge": "scripted:a.jsonl"}


def cluster(config: Settings, **options: Any) -> Cluster:
    return local_cluster(on_free_ports(config), load_pipelines(FACTCHECK), load_topics(), **options)


def config(**given: object) -> Settings:
    return Settings(_env_file=None, **given)  # type: ignore[call-arg,arg-type]


def test_every_role_is_there_once() -> None:
    parts = {part.name: part for part in cluster(config()).parts}
    workers = {*STAGES, "egress", "lm-chat", "lm-judge"}
    assert set(parts) == {"engine", "tansu", "valkey", "topics", "gateway"} | workers
    assert len({part.address for part in parts.values()}) == len(parts) - 1  # the topics are at the broker's address
    for name in (*workers, "gateway"):
        assert set(parts[name].needs) == {"tansu", "valkey", "topics"}
    assert list(parts["claims"].command[1:]) == ["-m", "alto_streams", "worker", "claims"]
    assert list(parts["lm-judge"].command[3:]) == ["worker", "--model", "judge"]
    assert not parts["tansu"].restarts
    assert parts["claims"].restarts


def test_gateways_beside_each_other_have_ports_of_their_own() -> None:
    made = cluster(config(), gateways=3)
    assert [part.name for part in made.parts if part.address in made.gateways] == ["gateway", "gateway-2", "gateway-3"]
    assert made.gateways[0] == made.gateway
    assert len(set(made.gateways)) == 3


def test_models_without_an_engine_share_the_local_one() -> None:
    made = cluster(config(models={"chat": "openai:http://127.0.0.1:1/v1#m"}))
    engine = next(part for part in made.parts if part.name == "engine")
    assert made.settings.models["chat"] == "openai:http://127.0.0.1:1/v1#m"
    assert made.settings.models["judge"] == "local"
    assert made.settings.local_engine == f"{engine.address}/v1"


def test_the_local_engine_is_started_as_the_cards_of_its_models_say(tmp_path: Path) -> None:
    gguf, models = tmp_path / "w.gguf", tmp_path / "models.yaml"
    gguf.write_bytes(b"GGUF")
    chat = "chat: {engine: local, slots: 3, context_tokens: 4096}"
    models.write_text(f"{chat}\njudge: {{engine: local, slots: 5, chat_template: t.jinja}}")
    made = cluster(config(models_file=models, gguf=gguf))
    (engine,) = [part for part in made.parts if part.name == "engine"]
    given = list(engine.command[5:])
    assert dict(zip(given[::2], given[1::2], strict=True)) == {
        "--gguf": str(gguf),
        "--slots": "5",
        "--context-tokens": "4096",
        "--chat-template": str(tmp_path / "t.jinja"),
    }
    assert made.settings.models == {}  # the cards still count
    models.write_text(f"{chat}\njudge: {{engine: local, context_tokens: 2048}}")
    with pytest.raises(ConfigError, match=r"context_tokens of chat, judge differs"):
        cluster(config(models_file=models))
    with pytest.raises(ConfigError, match=r"ALTO_GGUF.*none\.gguf: no such file"):
        cluster(config(gguf=tmp_path / "none.gguf"))


def test_no_local_engine_where_none_is_used() -> None:
    assert "engine" not in {part.name for part in cluster(config(models=SCRIPTED)).parts}


def test_servers_that_run_already_are_used() -> None:
    made = cluster(config(models=SCRIPTED), own_broker=False, own_redis=False, workers=2)
    names = [part.name for part in made.parts]
    assert "tansu" not in names
    assert "valkey" not in names
    assert {"claims", "claims-2", "lm-judge-2", "egress-2", "scheduler"} <= set(names)
    assert made.settings.session_timeout_s == config().session_timeout_s


def test_the_embedded_broker_takes_one_worker_a_stage() -> None:
    with pytest.raises(ConfigError, match="takes one; add --kafka, or set ALTO_BROKER"):
        cluster(config(), workers=2)


def test_several_engines_are_planned_for_and_one_is_not() -> None:
    several = cluster(config(models=SCRIPTED), own_broker=False, lm_workers=3)
    (planner,) = [part for part in several.parts if part.name.startswith("scheduler")]
    assert list(planner.command[3:]) == ["worker", "--scheduler"]
    assert several.settings.policy == "prompt_aware"
    one = cluster(config(models=SCRIPTED), own_broker=False, workers=2, lm_workers=1)
    assert "scheduler" not in {part.name for part in one.parts}
    assert one.settings.policy == "round_robin"


def test_a_child_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = config(
        models={"chat": "openai:http://127.0.0.1:1/v1#a=b", "judge": "local"},
        var=tmp_path,
        broker="kafka://h:1",
        engine_api_key="sk-hidden",
    )
    assert all("sk-hidden" not in repr(part) for part in cluster(given, own_broker=False).parts)
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == given  # type: ignore[call-arg]


def test_worker_ports_follow_the_setting() -> None:
    first = free_ports(1)[0]
    made = cluster(config(models=SCRIPTED, worker_port=first))
    addresses = [part.address for part in made.parts if "ALTO_WORKER_PORT" in part.env]
    assert addresses == [f"http://127.0.0.1:{first + n}" for n in range(len(addresses))]


@pytest.mark.parametrize(
    "broker", ["kafka://10.0.0.1:9092", "kafka://127.0.0.1:1;kafka://127.0.0.1:2", "kafka://localhost:x"]
)
def test_a_part_is_started_on_this_machine_only(broker: str) -> None:
    with pytest.raises(ConfigError, match="ALTO_BROKER="):
        servers.tansu(broker)


def test_a_refused_address_is_told_without_its_password() -> None:
    with pytest.raises(ConfigError) as told:
        servers.valkey("redis://user:secret@elsewhere:6379/0")
    assert "secret" not in str(told.value)


def test_the_topics_file_agrees_with_the_pipeline() -> None:
    (pipeline,) = load_pipelines(FACTCHECK).values()
    lm_stages = {stage for stages in pipeline.models().values() for stage in stages}
    required = required_topics(pipeline.name, list(pipeline.stages), lm_stages) + scheduler_topics()
    assert load_topics().lacks(required) == []
    assert {spec.name for spec in load_topics().specs} == {spec.name for spec in required}
