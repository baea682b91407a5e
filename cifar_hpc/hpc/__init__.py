"""What Lightning lacks or leaves to chance: launchers, placement, signals, ZeRO on CPUs, a leaner loop over steps."""
