"""One partition of `usage_events` per UTC day, made before a row needs it.

Promises: making one waits for no reader (an export's open cursor) and makes none wait; concurrent makers are safe; a
day that cannot have one (a table of its name stands apart) is said, not guessed. There is no DEFAULT partition.
"""
