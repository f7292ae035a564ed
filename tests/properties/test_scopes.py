"""A scope completes exactly once, and exactly when a slow oracle says so, in any order and with any repetition."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from alto_streams.ancestry import Scope, child_path


@dataclass
class Tree:
    """A scope as it will be once everything has closed: the children of each stream, and the leaves."""

    levels: int
    streams: dict[str, int] = field(default_factory=dict)
    leaves: set[str] = field(default_factory=set)

    def tellings(self) -> list[tuple[str, int | None]]:
        """(stream, count) of each close, (leaf, None) of each leaf."""
        return [*self.streams.items(), *((leaf, None) for leaf in sorted(self.leaves))]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    root = draw(st.sampled_from(["", "4", "2/0"]))
    tree = Tree(draw(st.integers(1, 5)))
    above = [root]
    for level in range(tree.levels):
        below = []
        for stream in above:
            # Few wide levels, many narrow ones: whole trees stay small enough to be told in many orders.
            count = draw(st.integers(0, 3 if level < 2 else 2))
            tree.streams[stream] = count
            below += [child_path(stream, n) for n in range(count)]
        above = below[:12]
        for cut in below[12:]:
            # Too wide: these children failed, so their own streams closed without children.
            if level + 1 < tree.levels:
                tree.streams[cut] = 0
    tree.leaves = set(above) | set(below[12:] if tree.levels == level + 1 else ())
    return tree


def is_complete(tree: Tree, told: set[tuple[str, int | None]], stream: str, level: int) -> bool:
    """The definition, taken literally: this stream has closed, and each of its children is accounted for."""
    count = tree.streams[stream]
    if (stream, count) not in told:
        return False
    for n in range(count):
        child = child_path(stream, n)
        if level == tree.levels:
            if (child, None) not in told:
                return False
        elif not is_complete(tree, told, child, level + 1):
            return False
    return True


@given(st.data(), trees())
def test_it_completes_once_and_at_the_right_moment(data: st.DataObject, tree: Tree) -> None:
    root = next(iter(tree.streams))
    every = tree.tellings()
    repeated = data.draw(st.lists(st.sampled_from(every), max_size=len(every)))
    scope, told, completed = Scope(root, tree.levels), set[tuple[str, int | None]](), 0
    for path, count in data.draw(st.permutations([*every, *repeated])):
        told.add((path, count))
        now = scope.account(path) if count is None else scope.close(path, count)
        completed += now
        complete = is_complete(tree, told, root, 1)
        assert scope.complete == complete
        assert not now or complete
    assert completed == 1
