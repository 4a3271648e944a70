"""Apache Airflow provider for the Spark Dance 1.0 Pro video-generation API."""

__version__ = "0.1.0"
