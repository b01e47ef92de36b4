"""Scripts on the controller itself (`ansible_connection: local`)."""
