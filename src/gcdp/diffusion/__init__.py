"""The process: schedules, the two chains, both together, and the way back."""
