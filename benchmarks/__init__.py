"""What it costs to wait, to keep a video and to send a picture, beside the alternatives: ``make bench``."""
