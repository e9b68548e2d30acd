"""Does the ledger agree with itself? Every promise about its tables as a question to the database, recounted from scratch.

Promises: reads only, in one snapshot, so that a ledger in use is judged as it stood at one moment; nothing is taken from
the code that writes (its sums are counted here a second time, in SQL, with exact integers); a difference is named with
what it is about and both figures. Questions about events go day by day, so that a ledger of any age is a series of small
ones.

Left to others: putting right what is found.
"""
