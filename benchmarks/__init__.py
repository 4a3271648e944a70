"""What waiting costs, beside the peers: ``make bench``."""
