"""Sweep many hosts: waves, threads, retries, deadlines and cancellation, and the events that report on them."""
