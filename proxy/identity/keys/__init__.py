"""Virtual and management keys: their tables and what may be done to them.

A key leaves this room once, when it is issued. No list, row or log has it or its hash.
"""
