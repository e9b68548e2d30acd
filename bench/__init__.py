"""Measures the gateway against nginx on the same machine in the same run; only the ratios mean anything."""
