"""Bytes and words that clients, providers and rooms share: SSE frames, ids, key format, requests, refusals.

Pure: bytes in, values out. No socket, no clock, no randomness that is not passed in.
"""
