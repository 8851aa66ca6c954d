"""One training loop for every network that learns here."""
