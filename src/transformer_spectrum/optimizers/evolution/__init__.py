"""Evolution strategies: one contract, one distribution each."""
