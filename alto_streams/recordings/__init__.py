"""Recorded requests, and what became of them in a run: files, spacing, comparison. Pure but for the files."""
