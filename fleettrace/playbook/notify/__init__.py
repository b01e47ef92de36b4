"""Send notices of a play's findings to commands, web services, people and files."""
