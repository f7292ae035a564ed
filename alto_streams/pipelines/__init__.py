"""The built-in applications, written with the public API only."""
