"""The one HTTP client of the gateway: HTTP/1.1 to providers, over TLS or plain TCP.

Promises: each call ends in exactly one of `on_end`, `on_broken`, or the caller's own `cancel`, and says nothing after
that. A request is written at most once; what died before anything was written says so (`bytes_written` False), and only
that may be tried again. Responses are read strictly, heads are bounded, redirects and cookies do not exist,
certificates are always verified, and `veto` sees every address before it is connected.

Invariants: a connection carries one call at a time and is kept only after a response that ended where its framing
said, with nothing behind it. No task, timer or future per call: one ticker checks all deadlines; only a new connection
has a task.

Leaves to others: what is sent, what the bytes mean (metering, providers), how large a body may be (relay), which
addresses are forbidden.
"""
