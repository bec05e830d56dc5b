"""Talk to a Kubernetes API server: typed calls, watches, errors. Imports nothing of Airflow; everything is async."""
