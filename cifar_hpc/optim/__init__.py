"""What optimisers do that torch's do not."""
