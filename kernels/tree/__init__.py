"""Decision trees: codes of features, growth, pruning, and the walk of rows to leaves."""
