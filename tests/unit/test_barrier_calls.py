"""Barrier mode makes the calls of stream mode, later; one call for a whole output is an option of the pipeline."""

from __future__ import annotations

import msgspec
import pytest

from alto_streams.define.parsers import JsonLines, Lines, Sentences
from alto_streams.define.pipeline import Gather, Pipeline, Prompt, Record
from alto_streams.pipelines.factcheck import Question
from alto_streams.pipelines.factcheck import pipeline as factcheck
from alto_streams.tables.rows import Instruction
from alto_streams.wire.records import Close, Items, Mode
from tests.unit.homes import STOP, Home, children, chunk, items, items_to, request, start, works

ANSWER = "Spain is in Europe. Its capital is Madrid. "
MODES = [Mode.STREAM, Mode.BARRIER]


class Topic(Record):
    prompt: str


class Part(Record):
    text: str


class Word(Record):
    text: str


class Page(Record):
    words: list[str]


def parts_pipeline(*, coarse_barrier: bool) -> Pipeline:
    """Sentences of sentences: both stages have a parser with a coarser form."""
    pipeline = Pipeline("factcheck", request=Topic, coarse_barrier=coarse_barrier)

    @pipeline.generate(model="m")
    def parts(topic: Topic) -> Prompt[Part]:
        return Prompt([], topic.prompt, Sentences(Part), 100)

    @pipeline.generate(model="m")
    def words(part: Part) -> Prompt[Word]:
        return Prompt([], part.text, Sentences(Word, rule="plain"), 100)

    @pipeline.gather
    def page(words: Gather[Word]) -> Page:
        return Page([word.text for word in words])

    assert pipeline.root == "page"
    return pipeline


def answered(home: Home, value: Record, mode: Mode) -> list[Instruction]:
    """What the home of the first stage asks for once its call has written the answer."""
    return home.tell(request(value, mode), start(""), chunk("", 0, ANSWER, end=STOP))


@pytest.mark.parametrize("mode", MODES)
def test_fact_checking_reads_an_answer_by_its_sentences_in_both_modes(mode: Mode) -> None:
    out = answered(Home(factcheck, "answer"), Question("What is Spain?"), mode)
    assert children(items_to(out, "claims")) == [{"text": "Spain is in Europe."}, {"text": "Its capital is Madrid."}]


@pytest.mark.parametrize("mode", MODES)
def test_each_sentence_has_its_own_claims_call_and_a_barrier_only_delays_it(mode: Mode) -> None:
    home, context = Home(factcheck, "claims"), request(Question("What is Spain?"), mode).context

    def asked(record: Items) -> list[str]:
        return [work.call.subject for work in works(home.tell(msgspec.structs.replace(record, context=context)))]

    sentences = [{"text": "Spain is in Europe."}, {"text": "Its capital is Madrid."}]
    at_once = asked(items("answer", "", *sentences))
    at_the_end = asked(items("answer", "", first=2, close=Close(2)))
    expected = [sentence["text"] for sentence in sentences]
    assert (at_once, at_the_end) == ((expected, []) if mode is Mode.STREAM else ([], expected))


@pytest.mark.parametrize(("coarse", "mode"), [(False, Mode.BARRIER), (True, Mode.STREAM), (True, Mode.BARRIER)])
def test_one_call_for_all_is_an_option_of_the_pipeline_for_barriers_alone(coarse: bool, mode: Mode) -> None:
    out = answered(Home(parts_pipeline(coarse_barrier=coarse), "parts"), Topic("Spain?"), mode)
    one_for_all = coarse and mode is Mode.BARRIER
    told = [ANSWER.strip()] if one_for_all else ["Spain is in Europe.", "Its capital is Madrid."]
    assert [child["text"] for child in children(items_to(out, "words"))] == told


@pytest.mark.parametrize("parser", [Lines(Word), JsonLines(Word)])
def test_a_parser_without_a_coarser_form_reads_the_same_with_the_option(parser: Lines[Word] | JsonLines[Word]) -> None:
    pipeline = Pipeline("factcheck", request=Topic, coarse_barrier=True)

    @pipeline.generate(model="m")
    def words(topic: Topic) -> Prompt[Word]:
        return Prompt([], topic.prompt, parser, 100)

    @pipeline.gather
    def page(words: Gather[Word]) -> Page:
        return Page([word.text for word in words])

    assert pipeline.root == "page"
    text = "one\ntwo\n" if isinstance(parser, Lines) else '{"text": "one"}\n{"text": "two"}\n'
    home = Home(pipeline, "words")
    out = home.tell(request(Topic("Spain?"), Mode.BARRIER), start(""), chunk("", 0, text, end=STOP))
    assert [child["text"] for child in children(items_to(out, "page"))] == ["one", "two"]
