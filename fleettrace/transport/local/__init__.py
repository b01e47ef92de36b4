"""The controller itself (`ansible_connection: local`)."""
