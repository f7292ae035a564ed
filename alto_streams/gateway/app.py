"""The gateway as an ASGI app, and as a server of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from uvicorn.protocols.http.h11_impl import H11Protocol

from alto_streams.gateway.interfaces import PipelineInfo, RequestLog
from alto_streams.gateway.live import Live
from alto_streams.gateway.metrics import Metrics
from alto_streams.gateway.problems import install_problems
from alto_streams.gateway.routes import router
from alto_streams.gateway.schema import install_schema
from alto_streams.gateway.service import Service
from alto_streams.gateway.store import Store
from alto_streams.settings import Settings

API_VERSION = "1"
DESCRIPTION = "Submit a request to a pipeline of language models, and hear its partial outputs as they come."
SHUTDOWN_S = 5
# Of what waits for one client, this much in the system's buffer and as much in the process; the rest waits in Redis.
# A client that is slow would seem to take nothing at all, until a part of a larger buffer is free.
UNSENT_BYTES = 8_192


def create_gateway(settings: Settings, pipelines: Mapping[str, PipelineInfo], log: RequestLog) -> FastAPI:
    """The app; it starts and stops `log`. It starts, and answers, whether or not the broker and Redis are there."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store, live = Store(settings), Live(settings)
        app.state.service = Service(settings, pipelines, log, store, live, metrics)
        await log.start()
        try:
            yield
        finally:
            await log.stop()
            await live.stop()
            await store.stop()

    # Its page of the API needs no other host: scripts and styles come from the package, and nothing is sent to a
    # validator elsewhere.
    app = FastAPIOffline(
        title="alto_streams",
        version=API_VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},
    )
    app.include_router(router)
    install_problems(app, metrics)
    install_schema(app, pipelines)
    # At DEBUG it writes what the clients are sent.
    logging.getLogger("sse_starlette").setLevel(logging.INFO)
    return app


class _Connection(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """A server for the app at `host:gateway_port`; `await server.serve()` runs it until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.gateway_port,
        http=_Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=64 * 1024,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return uvicorn.Server(config)
