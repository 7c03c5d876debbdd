"""Replicas on Kubernetes: a Deployment (or LeaderWorkerSet) each, named by the replica's id, in one namespace of one
context.

`cluster` and `client` alone know the client library; `fake` stands in for it in tests, yours too. `objects` marks what
is ours, `claim` keeps a second fleet out, `shared` is what replicas have in common, `reading` says what the API server
tells, `sight` watches, `driver` is the launcher's seam.
"""
