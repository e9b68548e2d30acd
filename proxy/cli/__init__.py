"""The command line: a file per group of commands.

Promises: data on stdout, talk on stderr; tables on a terminal, TSV on a pipe, `--json` everywhere with money as
exact decimal text; exits 0 done, 1 failed, 2 wrong usage or configuration, 4 not signed in; an error ends with the next
command to try; a secret is never taken from a flag. `--help`, and Tab for the name of a command, import neither aiohttp
nor pydantic. Decides nothing: it asks the management API, or starts what `app.py` and `supervisor/` build.
"""
