"""What a run leaves behind, and how it is read back. Nothing here knows how a record is judged."""
