"""What `alto-streams ask` takes its argument for."""

from __future__ import annotations

import pytest

from alto_streams.cli.ask import input_of


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("What is neon?", {"prompt": "What is neon?"}),
        ('{"name": "volcanoes", "most": 3}', {"name": "volcanoes", "most": 3}),
        ("{no JSON", {"prompt": "{no JSON"}),
        ("[1]", {"prompt": "[1]"}),
    ],
)
def test_fields_or_a_prompt(text: str, wanted: dict[str, object]) -> None:
    assert input_of(text) == wanted
