"""The board in the loop: a bundle's program compiled, put there and run; what it found and how long it took."""
