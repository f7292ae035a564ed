"""Several reviewers read a text; the first objection ends the request, and the calls that are still under way.

text -> views (one a line) -> opinions (one JSON line each) -> decision
"""

from alto_streams import Gather, JsonLines, Lines, Message, Pipeline, Prompt, Record


class Draft(Record):
    text: str


class View(Record):
    view: str


class Opinion(Record):
    fine: bool
    reason: str


class Decision(Record):
    """`read`: by how many reviewers; `whole`: whether all of them were heard."""

    accepted: bool
    objection: str | None
    read: int
    whole: bool


pipeline = Pipeline("review", request=Draft)
VIEWS = [Message("system", "Name five points of view from which the text should be checked, one per line.")]
JUDGE = [Message("system", 'Check the text from this point of view. Answer {"fine": true or false, "reason": "..."}')]


@pipeline.generate(model="chat")
def views(draft: Draft) -> Prompt[View]:
    return Prompt(fixed=VIEWS, variable=draft.text, parse=Lines(View, limit=5), max_tokens=80)


@pipeline.generate(model="judge")
def opinions(draft: Draft, view: View) -> Prompt[Opinion]:
    asked = f"{view.view}\n\n{draft.text}"
    return Prompt(fixed=JUDGE, variable=asked, parse=JsonLines(Opinion, limit=1), max_tokens=60, subject=view.view)


def one_objects(opinions: Gather[Opinion]) -> bool:
    """Asked whenever something has become final; it takes what the last stage takes."""
    return any(not each.fine for each in opinions)


@pipeline.gather(enough=one_objects)
def decision(opinions: Gather[Opinion]) -> Decision:
    objections = [each.reason for each in opinions if not each.fine]
    accepted = opinions.complete and not objections and not opinions.failures
    return Decision(accepted, next(iter(objections), None), len(opinions), opinions.complete)
