"""A folder of reports: rows, the origin of their settings, and messages about their files."""
