"""From raw exports or random draws to windows."""
