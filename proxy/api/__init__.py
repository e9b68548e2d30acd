"""The management API, `/api/v1`: a file per resource, one table of endpoints, OpenAPI made from it.

Promises: routing, the role check, validation and the document come from the same table, so none can forget an endpoint;
every change goes through the one write path; unknown fields and parameters are refused. Holds no SQL and no rules:
those are in the rooms below.
"""
