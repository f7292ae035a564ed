"""A gateway as a process, as production runs it, with the tests' pipeline. Its settings come from the environment."""

from __future__ import annotations

import asyncio
import logging

from alto_streams.agents.ingress import Ingress
from alto_streams.gateway import create_gateway, server
from alto_streams.settings import settings
from tests.gateway.harness import PIPELINES


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    chosen = settings()

    async def run() -> None:
        app = create_gateway(chosen, PIPELINES, Ingress(chosen))
        await server(app, chosen).serve()

    asyncio.run(run())


if __name__ == "__main__":
    main()
