"""Publishing a learnware, step by step."""
