"""What a study comes to: verdicts, shares of variance, answers to published claims, and their publication."""
