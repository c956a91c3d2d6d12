"""Video autoencoders: Wan's and tiny ones, whole, in chunks or in tiles; their files."""
