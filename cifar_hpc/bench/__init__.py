"""What is measured against what: always side by side, in one run, as medians with their spread."""
