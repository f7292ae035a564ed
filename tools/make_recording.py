"""Writes the project's recording of fact checks from the bundled corpora: always the same bytes.

    python -m tools.make_recording loadtest/data/fact_checks.jsonl

Questions, answers and claims are written here; what they say is from the corpora, whose licences are in the NOTICE
beside them. The form of a row is described in the README beside the recording.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.recording.rows import lines, rows


def main() -> None:
    """Write the recording into the file that was given."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path, help="the JSONL file to write")
    file: Path = options.parse_args().file
    written = rows()
    file.write_text(lines(written), encoding="utf-8")
    print(f"{file}: {len(written)} rows, {sum(len(row['claims']) for row in written)} claims")


if __name__ == "__main__":
    main()
