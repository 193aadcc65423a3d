"""Raw exports, fetched from a mirror or upstream, or simulated and marked so."""
