"""Carries out what `scheduler` decides."""
