"""Headlines for the parts of an article: each is whole or it is none.

A text may go on where it broke off, a headline may not: half of one and half of another is no headline. So a call that
breaks is written anew (`broken="redo"`), and one that takes too long is left out (`within_s`).

article -> headlines (one call a paragraph) -> page
"""

from alto_streams import Gather, Message, ParseFailure, Parser, Pipeline, Prompt, Record, TokenLogprob


class Article(Record):
    paragraphs: list[str]


class Paragraph(Record):
    text: str


class Headline(Record):
    text: str


class Page(Record):
    headlines: list[str]
    missing: int


pipeline = Pipeline("headlines", request=Article)
WRITE = [Message("system", "Write one headline for the text, of at most eight words.")]
MOST_WORDS = 8


class OneHeadline:
    """A parser of one's own: the first line is the headline, unless it is too long. One is made for each call."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, text: str, logprobs: list[TokenLogprob] | None = None) -> list[Headline | ParseFailure]:
        """What ends in this text: nothing, since a headline is known at the end only."""
        self._text += text
        return []

    def close(self) -> list[Headline | ParseFailure]:
        words = self._text.strip().split("\n")[0].strip(' "').split()
        if len(words) > MOST_WORDS:
            return [ParseFailure(f"a headline of {len(words)} words")]  # never the text itself: causes are logged
        return [Headline(" ".join(words))] if words else []

    def coarse(self) -> Parser[Headline]:
        return self


@pipeline.map
async def paragraphs(article: Article) -> list[Paragraph]:
    """A map may make several items of one."""
    return [Paragraph(text) for text in article.paragraphs if text.strip()]


@pipeline.generate(model="chat", show="text", broken="redo", within_s=20)
def headlines(paragraph: Paragraph) -> Prompt[Headline]:
    return Prompt(fixed=WRITE, variable=paragraph.text, parse=OneHeadline(), max_tokens=40)


@pipeline.gather
def page(headlines: Gather[Headline]) -> Page:
    return Page([each.text for each in headlines], len(headlines.failures))
