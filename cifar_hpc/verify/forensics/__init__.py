"""Checks what the reports print against itself, without training anything.

A rule is a small function over what was transcribed, with its proof or source. It speaks only when the printed
digits leave no way out: a false alarm is worse than a miss.
"""
