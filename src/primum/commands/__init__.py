"""The commands beside the main one, each in a file; what is slow to load is loaded when a command runs."""
