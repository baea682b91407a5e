"""Whether what was measured agrees with what was reported."""
