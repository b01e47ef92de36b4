"""The report of a run: the value, one module per format, families of keys, causes of hot hosts, redaction."""
