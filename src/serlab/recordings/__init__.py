"""What is heard in the clips of a corpus, and which of them are one recording."""
