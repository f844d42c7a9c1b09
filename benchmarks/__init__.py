"""Speed: ratios to peers and fractions of the measured ceiling, never a timed test."""
