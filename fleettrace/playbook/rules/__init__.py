"""Rules: a small language over a report's fields, and its evaluation with bounds."""
