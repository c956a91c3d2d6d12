"""What the recipes minimise."""
