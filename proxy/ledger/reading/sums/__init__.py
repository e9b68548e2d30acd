"""Sums over the rollups. Hours and days are UTC."""
