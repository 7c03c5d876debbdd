"""Replicas on Kubernetes: one Deployment each, named by the replica's id, in one namespace of one context.

`cluster` is the only file that knows the client library; `fake` stands in for it in tests, yours too. `objects` marks
what is ours, `reading` says what the API server's answers mean, `sight` watches, `driver` is the launcher's seam.
"""
