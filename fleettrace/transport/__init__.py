"""How hosts are reached: run a script there, stream its output, always bounded."""
