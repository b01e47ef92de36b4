"""SSH by the system's own `ssh` client."""
