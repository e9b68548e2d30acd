"""Rollups: every hour and every day is the sum of its events, for each unit and everything that is counted by."""
