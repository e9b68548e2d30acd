"""May it: what an attempt can cost at most, before it is sent, and whether there is a place for it.

Pure. Today it estimates the prompt for the announcement and counts places at providers; budgets and limits extend it.
Does not speak Redis.
"""
