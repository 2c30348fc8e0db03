"""Other people's pods and workers, written from the seed document alone, beside ours."""
