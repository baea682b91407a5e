"""Judges whether what was measured agrees with what was reported."""
