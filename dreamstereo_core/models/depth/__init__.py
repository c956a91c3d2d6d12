"""The networks that estimate depth."""
