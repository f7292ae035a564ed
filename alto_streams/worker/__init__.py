"""A worker as a process: its app, its pump, and what watches it."""
