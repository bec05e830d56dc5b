"""Sensors. Importing one in a DAG file loads no Kubernetes client, no pydantic models and no HTTP library."""
