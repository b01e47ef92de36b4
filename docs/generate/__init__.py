"""Write the parts of the documentation that state facts of the code: `make docs`."""
