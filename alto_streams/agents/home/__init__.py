"""Carries out what `tables` decides: the agent of a stage's homes."""
