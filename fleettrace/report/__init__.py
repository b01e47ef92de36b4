"""What a run found, made into a report: the value, one file a format, families of keys, causes, redaction."""
