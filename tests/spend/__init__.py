"""What answers took, and who adds it up."""
