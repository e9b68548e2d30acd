"""Entries of the ledger: what an attempt owes is what its event says, and nobody gets back more than was owed."""
