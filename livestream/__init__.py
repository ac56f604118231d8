"""Live video delivery: ingest, origin and edge, as one Twisted daemon."""
