"""A session while it runs: one picture of it, read from files, and those who draw it."""
