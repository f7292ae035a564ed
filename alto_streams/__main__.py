"""`python -m alto_streams` is `alto-streams`."""

from __future__ import annotations

from alto_streams.cli import main

if __name__ == "__main__":
    main()
