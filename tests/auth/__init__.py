"""Who is calling, and whose sessions they are."""
