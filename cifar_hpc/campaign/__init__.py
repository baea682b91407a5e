"""Spends hours on the runs that decide most printed numbers: plans them, trains them, keeps their records."""
