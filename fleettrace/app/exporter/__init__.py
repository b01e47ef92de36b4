"""`fleettrace exporter`: sweeps at intervals, and serves the metrics of the last sweep over HTTP."""
