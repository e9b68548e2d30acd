"""What stands around the ledger: how far it is, what could not be written, what is in force when."""
