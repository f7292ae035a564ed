"""BM25 over a folder of text files: passages that may support or refute a claim.

The index is built in memory at start (the bundled corpus takes a fraction of a second). The order of the results is
a function of the folder and the query alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import bm25s
import msgspec
import numpy as np
import sentencex

from alto_streams.define.pipeline import Record
from alto_streams.errors import ConfigError
from alto_streams.settings import own_setting

CORPUS = "ALTO_CORPUS"  # the folder that is searched for evidence; the bundled one where it is not set
BUNDLED = Path(__file__).parent / "corpus"
SUFFIXES = (".txt", ".md")
# A longer paragraph is cut at sentence ends, so that evidence stays cheap to prefill.
PASSAGE_CHARS = 300
MAX_FILE_BYTES = 16 * 2**20
WORD = r"(?u)\b\w+\b"
# Scoring this many passages takes some milliseconds; more are scored in a thread, off the event loop.
INLINE_PASSAGES = 20_000


class Passage(Record):
    """A sentence or short paragraph of the corpus; `source` is its file, relative to the corpus folder."""

    source: str
    text: str
    score: float = 0.0


class Search:
    """A folder of `.txt` and `.md` files (UTF-8), searched by BM25.

    Raises:
        ConfigError: the folder is missing, unreadable or without text; names the folder or file, and the remedy.
    """

    def __init__(self, corpus: Path = BUNDLED) -> None:
        self.corpus = corpus
        self._passages = list(_passages(corpus))
        if not self._passages:
            raise ConfigError(f"ALTO_CORPUS: {corpus} has no text in its {' or '.join(SUFFIXES)} files; add some")
        self._index: Any = bm25s.BM25(dtype="float64")
        self._index.index(_words([_indexed(passage) for passage in self._passages]), show_progress=False)

    def __len__(self) -> int:
        return len(self._passages)

    async def search(self, query: str, k: int = 3) -> list[Passage]:
        """The `k` best passages, best first; equal scores in the order of file name and line. None without a match."""
        if len(self) > INLINE_PASSAGES:
            return await asyncio.to_thread(self.search_nowait, query, k)
        return self.search_nowait(query, k)

    def search_nowait(self, query: str, k: int = 3) -> list[Passage]:
        """As `search`, in this thread."""
        words = [word for word in _words([query])[0] if word in self._index.vocab_dict]
        if k < 1 or not words:
            return []
        scores = self._index.get_scores(words)
        best = np.argsort(-scores, kind="stable")[:k]
        found = ((self._passages[place], round(float(scores[place]), 4)) for place in best)
        return [msgspec.structs.replace(passage, score=score) for passage, score in found if score > 0]


@lru_cache(maxsize=4)
def open_search(corpus: Path | None = None) -> Search:
    """The search over `corpus`, the bundled one by default; one index per process and folder.

    Raises:
        ConfigError: as `Search`.
    """
    return Search(BUNDLED if corpus is None else corpus)


def corpus_setting() -> Path | None:
    """The folder that ALTO_CORPUS names."""
    named = own_setting(CORPUS)
    return Path(named) if named else None


def _indexed(passage: Passage) -> str:
    """Its text after its file's name, twice: what a file is about counts for more than a name that it mentions.

    "Armenia uses the lev" asks about Armenia; "The currency of Bulgaria is the lev" is no evidence for it.
    """
    name = PurePosixPath(passage.source).stem.replace("-", " ").replace("_", " ")
    return f"{name} {name} {passage.text}"


def _words(texts: list[str]) -> list[list[str]]:
    # Words of one character stay: chemical symbols and single digits are what claims are about.
    words: list[list[str]] = bm25s.tokenize(
        texts, token_pattern=WORD, stopwords="en", return_ids=False, show_progress=False
    )
    return words


def _passages(corpus: Path) -> Iterator[Passage]:
    if not corpus.is_dir():
        raise ConfigError(f"ALTO_CORPUS: {corpus} is not a folder; give a folder of {' or '.join(SUFFIXES)} files")
    try:
        paths = sorted(path for path in corpus.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        next(corpus.iterdir(), None)
    except OSError as error:
        raise ConfigError(f"ALTO_CORPUS: {corpus} cannot be read: {error.strerror}") from None
    if not paths:
        raise ConfigError(f"ALTO_CORPUS: {corpus} has no {' or '.join(SUFFIXES)} file; add some")
    for path in paths:
        source = path.relative_to(corpus).as_posix()
        for paragraph in _text(path).splitlines():
            for text in _pieces(paragraph.strip()):
                yield Passage(source, text)


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(f"ALTO_CORPUS: {path} has {size:,} bytes, more than {MAX_FILE_BYTES:,}; split it")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"ALTO_CORPUS: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"ALTO_CORPUS: {path} is not UTF-8 at byte {error.start}; convert it") from None


def _pieces(paragraph: str) -> Iterator[str]:
    """The paragraph, or groups of its sentences if it is long."""
    if len(paragraph) <= PASSAGE_CHARS:
        if any(letter.isalnum() for letter in paragraph):
            yield paragraph
        return
    piece = ""
    for sentence in sentencex.segment("en", paragraph):
        if piece and len(piece) + len(sentence) > PASSAGE_CHARS:
            yield piece.strip()
            piece = ""
        piece += sentence
    if piece.strip():
        yield piece.strip()
