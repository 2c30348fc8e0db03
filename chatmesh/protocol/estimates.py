"""About how many tokens a message has, where nobody has counted them."""

CHARACTERS_PER_TOKEN = 4
"""Of English text with most models' tokenizers; a bound needs no more."""

TOKENS_PER_MESSAGE = 4
"""What a role and its delimiters take."""


def tokens_of(text: str) -> int:
    """Of one message with that text."""
    return len(text) // CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE
