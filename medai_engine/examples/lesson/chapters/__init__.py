"""The chapters, in the order of ``lesson.CHAPTERS``: programs whose strings are their prose."""
