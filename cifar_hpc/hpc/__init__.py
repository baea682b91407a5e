"""What Lightning lacks for these runs: a leaner loop over training steps."""
