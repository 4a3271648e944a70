"""The vendor's HTTP API for Spark Dance 1.0 Pro: requests, replies, errors, prices. Knows nothing of Airflow."""
