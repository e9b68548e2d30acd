"""What `synapscale doctor` looks at: a file per thing that can be wrong. Every finding says what to do about it.

Nothing here changes anything, and a check that cannot be made says so instead of passing.
"""
