"""The transcript in parts."""
