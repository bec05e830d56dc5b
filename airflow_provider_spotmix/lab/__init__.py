"""The rehearsal lab: a real cluster, real Spark and a real Airflow on one machine. Not part of the product."""
