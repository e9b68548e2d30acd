"""Sealed secrets: own provider keys (user variables) and answers that hold a key.

Promises: what is sealed opens only in the row it was sealed for; a plaintext is in no log, row or repr. Leaves to
others: whose variable is used for a request (`flow`), which header carries it (`providers`).
"""
