"""``me.jit``: a step recorded once, planned, and replayed."""
