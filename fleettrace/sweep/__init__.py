"""Many hosts: who is traced when, what becomes of failures and interruptions, and the events that tell of it."""
