"""Forward-only SQL, applied in order of the number in the file name by `proxy/storage/migrate.py`."""
