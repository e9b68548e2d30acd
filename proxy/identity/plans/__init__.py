"""Plans and price overrides of workspaces, with their history.

Promises: a change is in force from its moment on, at the next request; what was in force before stays as it was, with
its dates. One in force at a time, which the database sees to. What has no end is what counts now.
"""
