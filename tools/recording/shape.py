"""How long the rows are: sentences, claims and words, near those of FacTool's knowledge QA, which shaped the workload.

There, an answer has 42 words in 2.3 sentences, two of five have one only, and 4.7 claims of 9.5 words are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Of one answer."""

    sentences: int
    claims: int
    words: int

    def claims_of(self, sentence: int) -> int:
        """How many claims the sentence makes: the claims of a recording are spread over its sentences, in order."""
        return sum(n * self.sentences // self.claims == sentence for n in range(self.claims))


ONE_SENTENCE = (
    (1, 12),
    (1, 14),
    (2, 14),
    (2, 16),
    (2, 18),
    (2, 14),
    (3, 17),
    (3, 18),
    (3, 19),
    (3, 21),
    (4, 24),
    (4, 28),
    (5, 30),
)
SHAPES = tuple(
    Shape(*each)
    for each in (
        *((1, *each) for each in ONE_SENTENCE),
        *((2, 3, 25), (2, 3, 28), (2, 3, 27), (2, 4, 38), (3, 5, 40), (2, 6, 40), (2, 7, 54)),
        *((3, 3, 31), (3, 4, 41), (3, 5, 43), (3, 5, 50), (3, 6, 56), (3, 7, 74), (4, 9, 96)),
        *((4, 8, 90), (4, 10, 108), (5, 9, 126), (5, 11, 140)),
    )
)
LONGEST = Shape(9, 10, 158)
UNPARSED = (Shape(2, 4, 34), Shape(1, 3, 18))
"""Of the rows whose claims are lost: they are no part of the reference workload."""
SHAPES_ONCE = tuple(Shape(1, *each) for each in ((2, 14), (2, 16), (3, 18), (3, 19), (3, 21), (4, 24)))
"""Every other shape has two rows: these make room for the rows in other languages."""
CLAIM_WORDS, CLAIM_WORDS_SPREAD = 9.9, 3.6
PROMPT_WORDS, PROMPT_WORDS_SPREAD = 10.0, 4.5
