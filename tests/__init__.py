"""Tests, laid out as the package is."""

import os

# Several tests run at once, each with threads for all cores. Threads that spin while they wait for each other would
# take the cores from those that work. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
