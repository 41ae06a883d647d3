"""The pages of a prediction, from its form over its plan to its report."""
