"""Windows of context and horizon, split and scaled."""
