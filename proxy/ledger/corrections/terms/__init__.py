"""The terms of a moment: which price, plan and override were in force when an attempt began, as the tables say it now.

Read for a batch of attempts at once. The tables are catalog's and identity's; requests have theirs from caches that keep
only what is recent.
"""
