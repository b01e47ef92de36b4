"""SSH by fabric and paramiko."""
