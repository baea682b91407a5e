"""From a command line to a trained, recorded run."""
