"""Epochs: a number per workspace, and one for all (the nil uuid), that every management change raises.

Promises: raised in the transaction of the change, then in Redis; in Redis it never goes down. Whoever caches something
reads the epoch first and the thing second, so what it holds is at least as new as the number says.
Leaves to others: what an epoch guards, when to reload, and repeating a publication that failed (worker).
"""
