"""Search over a folder: what it finds, in which order, and how a wrong folder is refused."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from alto_streams.errors import ConfigError
from alto_streams.pipelines.factcheck.search import BUNDLED, Search, open_search


async def test_the_bundled_corpus_knows_capitals_and_elements() -> None:
    search = open_search()
    assert search.corpus == BUNDLED
    (first, *_) = await search.search("capital of France", 3)
    assert (first.source, first.text) == ("countries/france.txt", "The capital of France is Paris.")
    (first, *_) = await search.search("symbol of carbon", 3)
    assert first.text == "The chemical symbol of carbon is C."


def test_the_bundled_corpus_stays_small_and_says_where_it_comes_from() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) < 1_000_000
    notice = (BUNDLED / "NOTICE").read_text(encoding="utf-8")
    assert "Creative Commons Attribution 4.0" in notice
    assert "MIT licence" in notice


async def test_equal_scores_come_in_the_order_of_file_and_line(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "c.txt"):
        (tmp_path / name).write_text("Cats sleep.\nDogs bark.\n", encoding="utf-8")
    found = await Search(tmp_path).search("cats", 3)
    assert [passage.source for passage in found] == ["a.md", "b.txt", "c.txt"]


@pytest.mark.parametrize("query", ["", "the of", "zzqq", "?!"])
async def test_a_query_that_matches_nothing_finds_nothing(query: str) -> None:
    assert await open_search().search(query) == []


async def test_a_large_corpus_is_scored_in_a_thread_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = open_search().search_nowait("currency of Japan", 4)
    # The package has a resource of the same name, so the module is looked up by its path.
    module = import_module("alto_streams.pipelines.factcheck.search")
    monkeypatch.setattr(module, "INLINE_PASSAGES", 0)
    assert await open_search().search("currency of Japan", 4) == expected


def test_a_long_paragraph_is_cut_at_sentence_ends(tmp_path: Path) -> None:
    sentence = "The quick brown fox jumps over the lazy dog near the river. "
    (tmp_path / "long.txt").write_text(sentence * 20, encoding="utf-8")
    found = Search(tmp_path).search_nowait("fox", 50)
    assert len(found) > 1
    assert all(len(passage.text) <= 300 and passage.text.endswith("river.") for passage in found)


def test_a_wrong_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing is not a folder"):
        Search(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"no \.txt or \.md file"):
        Search(tmp_path)
    (tmp_path / "a.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no text"):
        Search(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"ok \xff")
    with pytest.raises(ConfigError, match=r"b\.txt is not UTF-8 at byte 3"):
        Search(tmp_path)
