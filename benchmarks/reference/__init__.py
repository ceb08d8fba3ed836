"""The yardstick: what the collector is measured against. Nothing here imports the collector."""
