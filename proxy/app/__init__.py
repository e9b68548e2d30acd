"""Builds every object of a gateway or a worker, starts them in order and stops them in the reverse one.

The only place that chooses who fills which seam. Nobody imports it but the command line.
"""
