"""Pictures in, files out."""
