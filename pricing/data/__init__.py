"""The price book: a JSON file per provider, `SOURCE.json` (where it comes from), and the command that makes both.

Only `convert.py` needs genai-prices (a development dependency); production reads the JSON with the standard library.
"""
