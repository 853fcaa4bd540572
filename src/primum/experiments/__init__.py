"""Questions put to the system: one a file, its prediction written before it ran, its verdict computed from intervals."""
