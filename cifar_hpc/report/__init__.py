"""Pages about what was reported and measured."""
