"""Search methods behind one contract."""
