"""What the text of a generate stage's function says of its prompts, before any is made. Pure.

What is wrong whatever the function is given is found where the stage is defined, and not by its first call: a parser of
other items than the stage returns, a parser that all calls would share, no tokens to write. What the text does not say
in so many words is left to `Prompt` and to the calls.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from alto_streams.define.stages import Prompt, Record
from alto_streams.errors import PipelineError

PARSERS = "alto_streams.define.parsers"
PARSE, MAX_TOKENS = 2, 3  # where they stand among the arguments of `Prompt`


def refuse_wrong_prompts(where: str, function: Callable[..., Any], output: type[Record]) -> None:
    """Raises `PipelineError`: the function's text makes a prompt that cannot be meant."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return  # it was not written into a file
    inner = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
    names: Mapping[str, Any] = getattr(function, "__globals__", {})
    known = {name: value for name, value in names.items() if name not in inner}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        named = {each.arg: each.value for each in call.keywords}
        is_prompt = _value(call.func, known) is Prompt
        parse = named.get("parse", call.args[PARSE] if is_prompt and len(call.args) > PARSE else None)
        if parse is not None:
            _check_parser(where, parse, known, output)
        most = named.get("max_tokens", call.args[MAX_TOKENS] if is_prompt and len(call.args) > MAX_TOKENS else None)
        if most is not None and (tokens := _number(most)) is not None and tokens < 1:
            raise PipelineError(f"{where}: max_tokens={tokens}: such a call may write nothing; give it 1 or more")


def _check_parser(where: str, parse: ast.expr, known: Mapping[str, Any], output: type[Record]) -> None:
    shared = _value(parse, known)
    if shared is not None and not isinstance(shared, type) and hasattr(shared, "feed") and hasattr(shared, "close"):
        raise PipelineError(
            f"{where}: parse={ast.unparse(parse)}: a parser reads one call, and this one would be shared by all; make "
            f"it in the function, such as parse={type(shared).__name__}({output.__name__})"
        )
    if not isinstance(parse, ast.Call) or getattr(_value(parse.func, known), "__module__", "") != PARSERS:
        return
    kinds = [each.value for each in parse.keywords if each.arg == "kind"] or parse.args
    kind = _value(kinds[0], known) if kinds else None
    if isinstance(kind, type) and not issubclass(kind, output):
        parser = ast.unparse(parse.func)
        raise PipelineError(
            f"{where}: it returns Prompt[{output.__name__}], and its parser makes {kind.__name__}: "
            f"{ast.unparse(parse)}; write {parser}({output.__name__}), or -> Prompt[{kind.__name__}]"
        )


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """What a name, or an attribute of one, stands for; None if that is not known here."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, known), node.attr, None)
    return None


def _number(node: ast.expr) -> int | float | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
    return value if isinstance(value, int | float) else None
