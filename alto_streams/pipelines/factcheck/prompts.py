"""The prompts of the fact-check pipeline: what all calls of a stage share comes first, what is the call's own last.

They are made for a model of 135M parameters. Such a model follows examples, not instructions, and it continues a text
better than it takes a turn in a chat. So the three judging prompts are texts that an open assistant's turn begins with:
examples, then the case at hand. Measured by `python -m loadtest.verdicts`, see docs/verdicts.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from alto_streams.define.parsers import Sentences
from alto_streams.define.pipeline import Parser, Prompt
from alto_streams.pipelines.factcheck.bearing import best
from alto_streams.pipelines.factcheck.search import Passage
from alto_streams.pipelines.factcheck.verdict import UNSURE
from alto_streams.wire.grammars import LineGrammar
from alto_streams.wire.records import Message

T = TypeVar("T")

DEMO_QUESTION = "What should I know about Spain, Japan and Brazil?"

ANSWER = [
    Message("system", "You answer questions in short, complete sentences, one fact in each."),
    Message("user", "What is neon?"),
    Message("assistant", "Neon is a noble gas. The chemical symbol of neon is Ne. The atomic number of neon is 10."),
    Message("user", "What should I know about Kenya and Peru?"),
    Message(
        "assistant",
        "The capital of Kenya is Nairobi. Kenya is located in Africa. The currency of Kenya is the shilling. The "
        "largest city of Kenya is Nairobi. Kenya borders Uganda. The capital of Peru is Lima. Peru is located in South "
        "America. The currency of Peru is the sol. The largest city of Peru is Lima. Peru borders Brazil.",
    ),
]

ANSWER_TOKENS = 320

CLAIMS = [Message("user", "Write each claim that a sentence makes as one JSON line.")]
CLAIMS_EXAMPLES = """\
Sentence: The capital of Kenya is Nairobi, and Kenya is in Africa.
{"claim": "The capital of Kenya is Nairobi."}
{"claim": "Kenya is in Africa."}

Sentence: Neon is a noble gas.
{"claim": "Neon is a noble gas."}

Sentence: The largest city of Peru is Lima.
{"claim": "The largest city of Peru is Lima."}

Sentence: The capital of Peru is Lima, and the currency of Peru is the sol.
{"claim": "The capital of Peru is Lima."}
{"claim": "The currency of Peru is the sol."}

Sentence: The currency of Nepal is the rupee.
{"claim": "The currency of Nepal is the rupee."}

"""
# Two line ends close a case; the grammar allows them after any claim, and asks for them after the most of them.
CLAIMS_GRAMMAR = LineGrammar(r'''"{\"claim\": \"" [^"\\\x00-\x1f]{1,240} "\"}"''', least=1, most=3, end="\n")

QUERIES = [Message("user", "Write two search queries for each claim, one per line.")]
# First what is asked about, without what the claim says of it: that may be wrong, and would find what else bears its
# name. Then the claim in its own words: so small a model may miss what is asked about, but it copies well.
QUERIES_EXAMPLES = """\
Claim: The capital of Kenya is Nairobi.
capital of Kenya
The capital of Kenya is Nairobi

Claim: Neon has the atomic number 10.
atomic number of neon
Neon has the atomic number 10

Claim: Nepal uses the rupee as its currency.
currency of Nepal
Nepal uses the rupee as its currency

Claim: Peru is located in South America.
where Peru is located
Peru is located in South America

Claim: Stockholm is the largest city in Sweden.
largest city of Sweden
Stockholm is the largest city in Sweden

"""
QUERIES_GRAMMAR = LineGrammar(r"[A-Za-z0-9] [^\x00-\x1f]{1,100}", least=2, most=2, end="\n")

# No instruction at all: with one, the judge was right less often.
VERDICT: list[Message] = []
_CASES = [
    ("The capital of Kenya is Nairobi.", "The capital of Kenya is Nairobi.", True),
    ("Peru is located in South America.", "Peru is in Europe.", False),
    ("The currency of Nepal is the rupee (NPR).", "Nepal uses the rupee as its currency.", True),
    ("The capital of Sweden is Stockholm.", "Oslo is the capital of Sweden.", False),
    ("The atomic number of neon is 10.", "The atomic number of neon is 47.", False),
    ("The chemical symbol of zinc is Zn.", "Zn is the chemical symbol of zinc.", True),
    ("The currency of Poland is the zloty (PLN).", "The currency of Poland is the peso.", False),
    ("The capital of Portugal is Lisbon.", "Lisbon is the capital of Portugal.", True),
    ("Fiji is located in Oceania.", "Fiji is a country in Oceania.", True),
    ("The chemical symbol of gold is Au.", "The chemical symbol of gold is Pb.", False),
    ("The atomic number of argon is 18.", "Argon has the atomic number 18.", True),
    ("The currency of Ghana is the cedi (GHS).", "Ghana uses the dinar as its currency.", False),
    ("Cuba is located in North America.", "Cuba is located in North America.", True),
    ("The capital of Chile is Santiago.", "Quito is the capital of Chile.", False),
    ("The atomic number of tin is 50.", "Tin has the atomic number 33.", False),
    ("The currency of Japan is the yen (JPY).", "The currency of Japan is the yen.", True),
    ("The capital of Mali is Bamako.", "Bamako is the capital of Mali.", True),
    ("The currency of Oman is the rial (OMR).", "Oman uses the rial as its currency.", True),
    ("The chemical symbol of iron is Fe.", "Hg is the chemical symbol of iron.", False),
    ("Togo is located in Africa.", "Togo is a country in Asia.", False),
    ("The chemical symbol of boron is B.", "The chemical symbol of boron is B.", True),
    ("The capital of Laos is Vientiane.", "The capital of Laos is Dakar.", False),
    ("The currency of Haiti is the gourde (HTG).", "The currency of Haiti is the won.", False),
    ("The atomic number of iodine is 53.", "The atomic number of iodine is 53.", True),
]


def _case(fact: str, statement: str) -> str:
    return f"Fact: {fact}\nStatement: {statement}\nThe statement is"


def _judged(fact: str, statement: str, label: bool) -> str:
    return f"{_case(fact, statement)} {'correct' if label else 'wrong'}\n\n"


VERDICT_EXAMPLES = "".join(_judged(*case) for case in _CASES)
OTHER_FACT = "Fiji is located in Asia."
# Of one sentence; a text of several has as many times more.
CLAIMS_TOKENS = 200
NO_FACT = "Nothing is known about it."


def answer(question: str, parse: Parser[T]) -> Prompt[T]:
    """The chatbot's answer: a few plain sentences."""
    return Prompt(ANSWER, question, parse, max_tokens=ANSWER_TOKENS, subject=question)


def claims(sentence: str, parse: Parser[T]) -> Prompt[T]:
    """The claims of one sentence (or of a whole answer), one JSON line each."""
    case = f"{CLAIMS_EXAMPLES}Sentence: {_flat(sentence)}\n"
    sentences = max(1, len(Sentences(str).feed(sentence + "\n")))
    return Prompt(
        CLAIMS,
        case,
        parse,
        max_tokens=CLAIMS_TOKENS * sentences,
        subject=sentence,
        stop=["\n\n"],
        # A claim a sentence at least: of a whole answer so small a model would write down its first claim only.
        grammar=replace(CLAIMS_GRAMMAR, least=sentences, most=CLAIMS_GRAMMAR.most * sentences),
        turn="assistant",
    )


def queries(claim: str, parse: Parser[T]) -> Prompt[T]:
    """Two search queries for one claim, one per line."""
    case = f"{QUERIES_EXAMPLES}Claim: {_flat(claim)}\n"
    return Prompt(
        QUERIES, case, parse, max_tokens=80, subject=claim, stop=["\n\n"], grammar=QUERIES_GRAMMAR, turn="assistant"
    )


def verdict(claim: str, evidence: list[Passage], parse: Parser[T]) -> Prompt[T]:
    """Whether the best passage of the evidence bears the claim out. Two facts at once confuse so small a model.

    Two more examples are made of the evidence itself: what the fact does not say is wrong, what it says is correct.
    They take out much of the model's leaning for one kind of statement or another. Where no passage speaks of the claim
    there is one thing to say.
    """
    found = best(claim, evidence)
    if found is None:
        case = f"{VERDICT_EXAMPLES}{_case(NO_FACT, _flat(claim))}"
        return Prompt(VERDICT, case, parse, max_tokens=4, subject=claim, choices=[f" {UNSURE}"], turn="assistant")
    fact = _flat(found.text)
    other = next((_flat(passage.text) for passage in evidence if _flat(passage.text) != fact), OTHER_FACT)
    case = f"{VERDICT_EXAMPLES}{_judged(fact, other, False)}{_judged(fact, fact, True)}{_case(fact, _flat(claim))}"
    return Prompt(
        VERDICT,
        case,
        parse,
        max_tokens=4,
        subject=claim,
        choices=[" correct", " wrong"],
        logprobs=20,
        turn="assistant",
    )


def _flat(text: str) -> str:
    """One line: a line end would begin something new in these texts."""
    return " ".join(text.split())
