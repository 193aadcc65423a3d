"""What a study's differences say: exact tests, intervals, equivalence, attribution, on any table of paired seeds."""
