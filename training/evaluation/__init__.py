"""What is measured, on what, beside what, and how it is shown."""
