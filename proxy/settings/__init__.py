"""`config.yaml` + environment + command line → one frozen `Settings`.

Promises: every value was checked before a process starts; a problem is told with its line, what is wrong and what
is allowed; unknown keys are refused; a secret is never in a repr, a log or an error. Rooms do not read this: whoever
builds them (`app.py`) hands them values. Left to others: what a value means.
"""
