"""The allocator of results."""
