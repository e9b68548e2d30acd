"""Reading the catalog's tables row by row, for those who manage it. Requests use the snapshot (catalog/snapshot.py)."""
