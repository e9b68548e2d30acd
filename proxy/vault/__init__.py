"""Sealed secrets: own provider keys (user variables) and answers that hold a key; the master key that opens them.

Promises: what is sealed opens only in the row it was sealed for; a plaintext is in no log, row or repr; a master key that is
not the database's is refused before it seals or hashes anything; a rotation closes nothing, while it runs or when it is cut
short, and changes no hash. Leaves to
others: whose variable is used for a request (`flow`), which header carries it (`providers`).
"""
