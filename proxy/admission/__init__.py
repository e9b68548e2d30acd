"""May it: what an attempt can cost at most, before it is sent.

Pure. Today it estimates the prompt for the announcement; budgets and limits extend it. Does not speak Redis.
"""
