# summaries.py
from alto_streams import Gather, Lines, Message, Pipeline, Prompt, Record, Sentences


class Topic(Record):
    name: str


class Question(Record):
    text: str


class Sentence(Record):
    text: str


class Page(Record):
    answers: list[str]


pipeline = Pipeline("summaries", request=Topic)
ASK = [Message("system", "Write three short questions about the topic, one per line.")]
ANSWER = [Message("system", "Answer in two sentences.")]


@pipeline.generate(model="chat")
def questions(topic: Topic) -> Prompt[Question]:
    return Prompt(fixed=ASK, variable=topic.name, parse=Lines(Question, limit=3), max_tokens=120)


@pipeline.generate(model="chat", show="text")
def answers(question: Question) -> Prompt[Sentence]:
    return Prompt(fixed=ANSWER, variable=question.text, parse=Sentences(Sentence), max_tokens=120)


@pipeline.gather
def page(sentences: Gather[Sentence]) -> Page:
    return Page([sentence.text for sentence in sentences])
