"""The pipeline that README.md shows, copied literally."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def summaries() -> str:
    """The text of `summaries.py`."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (found,) = [block for block in blocks if 'Pipeline("summaries"' in block]
    return str(found)


def write_summaries(folder: Path) -> Path:
    """The file in a folder."""
    path = folder / "summaries.py"
    path.write_text(summaries())
    return path
