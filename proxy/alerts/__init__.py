"""What somebody should look at: raised once, seen again as long as it is true, resolved when it is not.

Promises: of one kind, subject and workspace at most one alert fires; whoever raises or resolves it may do so again at any
time. What is resolved stays, as history. A kind is a line in kinds.py.

Left to others: when to look (worker), rules that people set and channels that tell them (later).
"""
