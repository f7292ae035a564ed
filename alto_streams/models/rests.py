"""What may follow a text that a grammar has begun to write, as a grammar of its own. Pure.

A server constrains what a run writes itself, not what it continues. So a call that goes on from an accepted text needs
the grammar of the rest: its derivative by that text. The states behind a text are found as llama.cpp finds them:
each is a stack of what is still to come, and the rest is any one of these stacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

_STACKS_MOST = 2000
_PRINTED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Unsupported(ValueError):
    """The notation has something that is not understood here; the text names it."""


@dataclass(frozen=True)
class Chars:
    """One character in these ranges (both ends belong to them), or in none of them."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False

    def has(self, letter: str) -> bool:
        return any(low <= letter <= high for low, high in self.ranges) != self.negated

    def gbnf(self) -> str:
        spans = "".join(_letter(low) + (f"-{_letter(high)}" if high != low else "") for low, high in self.ranges)
        return f"[{'^' if self.negated else ''}{spans}]"


@dataclass(frozen=True)
class Ref:
    """A rule by its name."""

    rule: str


@dataclass(frozen=True)
class Seq:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Alt:
    """Any one of them."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """`part` at least `least` times, and at most `most`; None: any number of times.

    `written`: how often at most where a text is to be written, if more of it is only read.
    """

    part: Node
    least: int = 0
    most: int | None = None
    written: int | None = None


Node = Chars | Ref | Seq | Alt | Repeat
Stack = tuple[Node, ...]


def literal(text: str) -> Node:
    """Exactly this text."""
    return Seq(tuple(Chars(((letter, letter),)) for letter in text))


def optional(node: Node) -> Node:
    """Once or not at all."""
    return Repeat(node, 0, 1)


@dataclass(frozen=True)
class Rest:
    """What may follow a text. `stacks`: each of them is one way to go on; without any, nothing that fits can follow."""

    stacks: frozenset[Stack]
    rules: Mapping[str, Node]

    @property
    def fits(self) -> bool:
        """Whether the text is the beginning of something that the grammar accepts."""
        return bool(self.stacks)

    @property
    def is_done(self) -> bool:
        """Whether the text is accepted and nothing can follow it."""
        return self.stacks == {()}

    @cached_property
    def gbnf(self) -> str:
        """As GBNF, with those of the rules that it needs."""
        ways = sorted(_sequence(stack) for stack in self.stacks)
        needed: dict[str, None] = {}
        todo = [name for stack in self.stacks for node in stack for name in _refs(node)]
        while todo:
            name = todo.pop()
            if name not in needed:
                needed[name] = None
                todo += _refs(self.rules[name])
        rules = [f"{name} ::= {_gbnf(self.rules[name])}" for name in sorted(needed)]
        return "\n".join([f"root ::= {' | '.join(ways)}", *rules]) + "\n"


def rest_after(root: Node, rules: Mapping[str, Node], text: str) -> Rest:
    """What may follow `text`.

    Raises:
        Unsupported: the grammar is left-recursive, or too ambiguous to be followed.
    """
    stacks = {*_heads([(root,)], rules)}
    for letter in text:
        went = [stack[1:] for stack in stacks if stack and isinstance(stack[0], Chars) and stack[0].has(letter)]
        stacks = {*_heads(went, rules)}
    return Rest(frozenset(stacks), rules)


def _heads(stacks: Iterable[Stack], rules: Mapping[str, Node]) -> Iterator[Stack]:
    """The same, each as those stacks that begin with characters, or are empty."""
    todo, seen = list(stacks), set[Stack]()
    while todo:
        stack = todo.pop()
        if stack in seen:
            continue
        seen.add(stack)
        if len(seen) > _STACKS_MOST:
            raise Unsupported("a grammar that can be read in too many ways")
        if not stack or isinstance(stack[0], Chars):
            yield stack
        else:
            todo += [way + stack[1:] for way in _ways(stack[0], rules)]


def _ways(node: Node, rules: Mapping[str, Node]) -> list[Stack]:
    match node:
        case Ref(rule):
            return [(rules[rule],)]
        case Seq(parts):
            return [parts]
        case Alt(options):
            return [(option,) for option in options]
        case Repeat(part, least, most, written):
            left = None if most is None else most - 1
            once = (part, Repeat(part, max(0, least - 1), left, written)) if left != 0 else (part,)
            return [once] if least else ([once, ()] if most != 0 else [()])
        case _:
            raise TypeError(node)


def _refs(node: Node) -> list[str]:
    match node:
        case Ref(rule):
            return [rule]
        case Seq(parts) | Alt(parts):
            return [name for part in parts for name in _refs(part)]
        case Repeat(part):
            return _refs(part)
        case _:
            return []


def _gbnf(node: Node) -> str:
    match node:
        case Chars():
            return node.gbnf()
        case Ref(rule):
            return rule
        case Seq(parts):
            return _sequence(parts)
        case Alt(options):
            return f"({' | '.join(_gbnf(option) for option in options)})"
        case Repeat(part, least, most, written):
            most = written or most
            inner = _gbnf(part) if isinstance(part, Chars | Ref | Alt) else f"({_gbnf(part)})"
            bounds = {(0, None): "*", (1, None): "+", (0, 1): "?"}
            return inner + bounds.get((least, most), f"{{{least},{'' if most is None else most}}}")


def _sequence(parts: Sequence[Node]) -> str:
    """Single characters on end are one literal."""
    said, letters = list[str](), ""
    for part in (*_flat(parts), None):
        if isinstance(part, Chars) and not part.negated and len(part.ranges) == 1 and len({*part.ranges[0]}) == 1:
            letters += part.ranges[0][0]
            continue
        if letters:
            said.append('"' + "".join(_quoted(letter) for letter in letters) + '"')
            letters = ""
        if part is not None:
            said.append(_gbnf(part))
    return " ".join(said) or '""'


def _flat(parts: Iterable[Node]) -> Iterator[Node]:
    for part in parts:
        yield from _flat(part.parts) if isinstance(part, Seq) else (part,)


def _quoted(letter: str) -> str:
    return f"\\{letter}" if letter in '"\\' else _PRINTED.get(letter, letter)


def _letter(letter: str) -> str:
    if letter in "]^-\\[":
        return f"\\x{ord(letter):02X}"
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02X}" if code < 0x100 else (f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}")
