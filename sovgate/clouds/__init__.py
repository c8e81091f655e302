"""What the keys and stores of one vendor share, a folder each."""
