"""Read YAML under bounds: values for inventories (`values`), nodes with locations for playbooks (`tree`)."""
