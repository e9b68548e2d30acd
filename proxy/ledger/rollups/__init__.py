"""Sums of usage per hour and UTC day, for every dimension and unit that people ask for.

Invariant: a sum is the sum of the rows, so every change of a row is added as its difference, in the row's transaction.
A missing row and one of zeros say the same.
"""
