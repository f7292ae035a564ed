"""What becomes a chunk: its token ids cover its text exactly or are left out, and no token is lost from the count."""

from __future__ import annotations

from alto_streams.agents.lm.coalesce import Coalescer, Gathered
from alto_streams.models.protocol import Piece


def gathered(coalescer: Coalescer, pieces: list[Piece]) -> list[Gathered]:
    found = [due for piece in pieces if (due := coalescer.add(piece, 0)) is not None]
    return [*found, coalescer.rest()]


def test_token_ids_of_a_part_never_stand_for_all_of_a_chunk() -> None:
    pieces = [Piece("a", [1]), Piece("b", [2]), Piece("c"), Piece("d", [4]), Piece("\n", [5])]
    (chunk, rest) = gathered(Coalescer("line"), pieces)
    assert (chunk.text, chunk.tokens, chunk.count) == ("abcd\n", None, 5)
    assert rest == Gathered()


def test_token_ids_that_cover_the_text_are_kept() -> None:
    (first, second, rest) = gathered(Coalescer("line"), [Piece("a\n", [1]), Piece("b", [2]), Piece("\n", [3])])
    assert (first.tokens, second.tokens, rest.tokens) == ([1], [2, 3], [])
    (first, rest) = gathered(Coalescer("token"), [Piece("a", [1]), Piece("b", [2])])
    assert (first.tokens, rest.tokens) == ([1], [2])


def test_a_token_over_a_lines_end_leaves_both_chunks_without_ids() -> None:
    (first, second, rest) = gathered(Coalescer("line"), [Piece("a\nb", [1]), Piece("c\n", [2]), Piece("d", [3])])
    assert [(chunk.text, chunk.tokens) for chunk in (first, second, rest)] == [
        ("a\n", None),
        ("bc\n", None),
        ("d", [3]),
    ]
    assert first.count + second.count + rest.count == 3


def test_the_engines_own_count_is_taken_where_it_tells_one() -> None:
    (chunk, _) = gathered(Coalescer("line"), [Piece("a", count=3), Piece("b\n", [1], count=1), Piece("")])
    assert chunk.count == 4
