"""What was counted, as values that merge: key counts with bounds, and what became of each host. Pure."""
