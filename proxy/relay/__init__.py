"""The byte pump between a provider's answer and a client, and the built-in llm `echo`.

Promises: bytes pass as they came, in whole frames, with a bounded amount of them in memory however slow a reader is.
The last bytes of an answer wait for `release`, so that it can be settled first. A client that leaves never stops the
count: its answer is read on within bounds, of time, tokens and number, or cut, as its workspace wants it. Each pump ends
in exactly one `StreamEnd`; an answer cut short is never one that looks complete.

Invariants: while the channel is paused the upstream is paused, and never after the client left. Nothing is sent
before the flow has a chance to try another route: a head goes out only with a stream that began well.

Leaves to others: what frames mean (metering), which headers go out (flow), HTTP to the client (server).
"""
