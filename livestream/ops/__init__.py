"""
For those who run a node, on an endpoint of its own.

- ``site``: health, readiness, metrics and the JSON API
- ``streams``: streams as the API shows them
- ``admission``: who may ask
- ``static``: the files of the page that shows the cluster
"""
