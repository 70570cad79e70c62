"""Units of likelihood scores: raw, or divided by the length of what was scored."""

NORMALISATIONS = {"none": "raw", "token": "per_token", "byte": "per_byte"}
"""What a log-probability may be divided by; with each, what a result's variables of that score end in (`score_per_token`)."""
UNITS = {"none": "nats", "token": "nats per token", "byte": "nats per byte"}
