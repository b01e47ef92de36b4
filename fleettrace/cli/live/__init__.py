"""What `fleettrace top` shows: events and key presses in, lines of text out; the terminal itself in one module."""
