"""Rules: a small language over a report's fields, judged with bounds."""
