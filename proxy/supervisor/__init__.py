"""The parent process of `synapscale serve`: it owns the listening sockets and the processes, and nothing else.

Promises: what it starts it watches, starts again when it dies, and stops in order (gateways, worker, stores); nothing
outlives it, even killed; a connection that waits in a dying gateway's socket is served by the next one; a port that is
taken is found out before anything starts. One thread, no event loop: children are forked from the main thread only.
Leaves to others: what a gateway or a worker does (`app.py`), and what is printed (`cli/`).
"""
