"""Pictures in: first and last frames from where a user keeps them."""
